// Rows of the agent's tables as the bytes of the kernel's, and back.
import { decode, encodeInto } from '../abi/codec.ts';
import { slbBackend, slbFrontend, slbFrontendKey, slbService, slbSet } from '../abi/layout.gen.ts';
import { formatAddress, parseAddress } from '../model/ip.ts';
import type { BackendRow, FrontendRow, ServiceRow, SetRow } from '../table/rows.ts';

/** Writes the row at `offset`. */
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

export const encodeFrontend: Encode<FrontendRow> = ({ service, kind }, bytes, offset) => {
  encodeInto(slbFrontend, { service, kind }, bytes, offset);
};

export const encodeService: Encode<ServiceRow> = (row, bytes, offset) => {
  encodeInto(slbService, row, bytes, offset);
};

export const encodeBackend: Encode<BackendRow> = (row, bytes, offset) => {
  const { id, service, port, proto, state } = row;
  encodeInto(slbBackend, { id, service, port, proto, state, addr: addressBytes(row.address) }, bytes, offset);
};

export const encodeSet: Encode<SetRow> = (row, bytes, offset) => {
  encodeInto(slbSet, row, bytes, offset);
};

export function decodeFrontend(keys: Uint8Array, values: Uint8Array, index: number): FrontendRow {
  const key = decode(slbFrontendKey, keys, index * slbFrontendKey.size);
  const { service, kind } = decode(slbFrontend, values, index * slbFrontend.size);
  return { address: formatAddress(key.addr), port: key.port, proto: key.proto, service, kind };
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
