// Rows ↔ bytes of the maps.
import { decode, encodeInto } from '../abi/codec.ts';
import {
  slbBackend,
  slbDevice,
  slbFrontend,
  slbFrontendKey,
  slbRange,
  slbRangeKey,
  slbService,
  slbSet,
} from '../abi/layout.gen.ts';
import { formatCidr, parseCidr } from '../net/cidr.ts';
import { formatAddress, parseAddress } from '../net/ip.ts';
import type { DeviceRole } from '../model/types.ts';
import {
  roleNumbers,
  type BackendRow,
  type DeviceRow,
  type FrontendRow,
  type RangeRow,
  type ServiceRow,
  type SetRow,
} from '../table/rows.ts';

/** Writes the row at `offset`. Throws RangeError for a row that cannot be encoded. */
export type Encode<Row> = (row: Row, bytes: Uint8Array, offset: number) => void;

function addressBytes(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes === undefined) throw new RangeError(`not an address: ${address}`);
  return bytes;
}

export const encodeFrontendKey: Encode<FrontendRow> = (row, bytes, offset) => {
  const { address, port, proto } = row;
  encodeInto(slbFrontendKey, { addr: addressBytes(address), port, proto }, bytes, offset);
};

export const encodeFrontend: Encode<FrontendRow> = ({ service, kind, flags }, bytes, offset) => {
  encodeInto(slbFrontend, { service, kind, flags }, bytes, offset);
};

export const encodeService: Encode<ServiceRow> = (row, bytes, offset) => {
  encodeInto(slbService, row, bytes, offset);
};

export const encodeBackend: Encode<BackendRow> = (row, bytes, offset) => {
  const { id, service, port, proto, lists } = row;
  encodeInto(slbBackend, { id, service, port, proto, lists, addr: addressBytes(row.address) }, bytes, offset);
};

export const encodeSet: Encode<SetRow> = (row, bytes, offset) => {
  encodeInto(slbSet, row, bytes, offset);
};

/** Kind and service, with which every key of the LPM trie begins: they are always compared in full. */
const rangeHeadBits = 64;

export const encodeRangeKey: Encode<RangeRow> = ({ kind, service, range }, bytes, offset) => {
  const parsed = parseCidr(range);
  if (parsed === undefined) throw new RangeError(`not a range: ${range}`);
  const prefixLen = rangeHeadBits + parsed.bits;
  encodeInto(slbRangeKey, { prefixLen, kind, service, addr: parsed.bytes }, bytes, offset);
};

export const encodeRange: Encode<RangeRow> = ({ service }, bytes, offset) => {
  encodeInto(slbRange, { service }, bytes, offset);
};

const nowhere = new Uint8Array(16);
const mappedAt = 12; // of the IPv4 address in ::ffff:a.b.c.d

export const encodeDevice: Encode<DeviceRow> = (
  { addr4, addr6, mac, role, netns, ...same },
  bytes,
  offset,
) => {
  const addr = addr4 === undefined ? nowhere : addressBytes(addr4);
  const row = {
    addr4: new DataView(addr.buffer).getUint32(mappedAt),
    addr6: addr6 === undefined ? nowhere : addressBytes(addr6),
    mac: macBytes(mac),
    role: roleNumbers[role],
    netns: netns >>> 0,
    ...same,
  };
  encodeInto(slbDevice, row, bytes, offset);
};

function macBytes(mac: string): Uint8Array {
  const bytes = new Uint8Array(6);
  if (mac !== '') bytes.set(mac.split(':').map((byte) => Number.parseInt(byte, 16)));
  return bytes;
}

export function decodeFrontend(keys: Uint8Array, values: Uint8Array, index: number): FrontendRow {
  const key = decode(slbFrontendKey, keys, index * slbFrontendKey.size);
  const value = decode(slbFrontend, values, index * slbFrontend.size);
  return { address: formatAddress(key.addr), port: key.port, proto: key.proto, ...value };
}

export function decodeService(values: Uint8Array, index: number): ServiceRow {
  return decode(slbService, values, index * slbService.size);
}

export function decodeBackend(values: Uint8Array, index: number): BackendRow {
  const { addr, ...row } = decode(slbBackend, values, index * slbBackend.size);
  return { ...row, address: formatAddress(addr) };
}

export function decodeSet(values: Uint8Array, index: number, row: number): SetRow {
  return { index: row, ...decode(slbSet, values, index * slbSet.size) };
}

export function decodeRange(keys: Uint8Array, index: number): RangeRow {
  const { prefixLen, kind, service, addr } = decode(slbRangeKey, keys, index * slbRangeKey.size);
  return { kind, service, range: formatCidr({ bytes: addr, bits: prefixLen - rangeHeadBits }) };
}

const roleNames = new Map(Object.entries(roleNumbers).map(([name, no]) => [no, name as DeviceRole]));

export function decodeDevice(keys: Uint8Array, values: Uint8Array, index: number): DeviceRow {
  const { addr4, addr6, mac, role, netns, ...same } = decode(slbDevice, values, index * slbDevice.size);
  const dotted = [24, 16, 8, 0].map((shift) => (addr4 >>> shift) & 0xff).join('.');
  return {
    ifindex: new Uint32Array(keys.slice(index * 4, index * 4 + 4).buffer)[0]!,
    addr4: addr4 === 0 ? undefined : dotted,
    addr6: addr6.every((byte) => byte === 0) ? undefined : formatAddress(addr6),
    mac: mac.every((byte) => byte === 0) ? '' : Buffer.from(mac).toString('hex').match(/../g)!.join(':'),
    role: roleNames.get(role) ?? 'pod',
    netns: netns | 0,
    ...same,
  };
}
