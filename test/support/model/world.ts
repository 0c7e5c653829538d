// What the maps say, decoded: the tables that the model decides by are the very ones that the programs read.
import { decode, type Layout } from '../../../src/abi/codec.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import { formatAddress } from '../../../src/net/ip.ts';
import type { Bench } from '../kernel/bpfrun.ts';

export interface Backend {
  readonly id: number;
  readonly address: string;
  readonly port: number;
  readonly lists: number;
}

export interface List {
  /** Ids of the backends, in table order. */
  readonly members: readonly number[];
  /** Maglev's table: each row a position in the list. */
  readonly positions: readonly number[];
}

export interface Service {
  readonly id: number;
  readonly cluster: List;
  readonly local: List;
  readonly anyEndpoint: boolean;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  readonly allow: boolean;
  readonly deny: boolean;
  readonly affinitySec: number;
}

export interface Address {
  readonly service: boolean;
  readonly cluster: boolean;
  readonly node: boolean;
  readonly nodePort: boolean;
  readonly loopback: boolean;
}

export interface Device {
  readonly role: 'pod' | 'uplink' | 'host';
  readonly 4: string | undefined;
  readonly 6: string | undefined;
  readonly mac: Uint8Array;
  readonly rpFilter: number;
  readonly rpFilter6: number;
}

interface Range {
  readonly kind: number;
  readonly service: number;
  readonly bits: number;
  readonly address: Uint8Array;
}

export interface World {
  readonly addresses: ReadonlyMap<string, Address>;
  /** By "address port protocol". */
  readonly frontends: ReadonlyMap<string, { readonly service: number; readonly kind: number }>;
  readonly services: ReadonlyMap<number, Service>;
  readonly backends: ReadonlyMap<number, Backend>;
  readonly devices: ReadonlyMap<number, Device>;
  readonly ranges: readonly Range[];
  readonly seed: number;
}

export const frontendKey = (address: string, port: number, proto: number): string =>
  `${address} ${String(port)} ${String(proto)}`;

const word = (bytes: Uint8Array, at: number): number =>
  new Uint32Array(bytes.slice(at, at + 4).buffer)[0] ?? 0;

function* rowsOf(bench: Bench, name: MapName): Generator<readonly [Uint8Array, Uint8Array]> {
  const map = bench.map(name);
  const { keySize, valueSize, maxEntries } = map.info;
  const { keys, values, count } = map.readBatch(undefined, maxEntries);
  for (let i = 0; i < count; i++) {
    yield [keys.slice(i * keySize, (i + 1) * keySize), values.slice(i * valueSize, (i + 1) * valueSize)];
  }
}

function* decoded<Row extends object>(bench: Bench, name: MapName, layout: Layout<Row>): Generator<Row> {
  for (const [, value] of rowsOf(bench, name)) yield decode(layout, value);
}

const has = (flags: number, flag: number): boolean => (flags & flag) !== 0;

function addressOf(flags: number): Address {
  const all = abi.slbAddressFlags;
  return {
    service: has(flags, all.ADDR_SERVICE),
    cluster: has(flags, all.ADDR_CLUSTER),
    node: has(flags, all.ADDR_NODE),
    nodePort: has(flags, all.ADDR_NODE_PORT),
    loopback: has(flags, all.ADDR_LOOPBACK),
  };
}

function readServices(bench: Bench): Map<number, Service> {
  const sets = [...decoded(bench, 'slb_sets', abi.slbSet)];
  const slots = [...rowsOf(bench, 'slb_slots')].map(([, value]) => word(value, 0));
  const maglev = new Uint16Array(bench.map('slb_maglev').mmap());
  const list = (index: number): List => {
    const set = index === 0 ? undefined : sets[index];
    if (set === undefined) return { members: [], positions: [] };
    return {
      members: slots.slice(set.slots, set.slots + set.count),
      positions: [...maglev.slice(set.maglev, set.maglev + set.maglevSize)],
    };
  };
  const flags = abi.slbServiceFlags;
  const rows = [...decoded(bench, 'slb_services', abi.slbService)].filter((row) => row.id !== 0);
  return new Map(
    rows.map((row) => [
      row.id,
      {
        id: row.id,
        cluster: list(row.clusterSet),
        local: list(row.localSet),
        anyEndpoint: has(row.flags, flags.SVC_ANY_ENDPOINT),
        internalLocal: has(row.flags, flags.SVC_INTERNAL_LOCAL),
        externalLocal: has(row.flags, flags.SVC_EXTERNAL_LOCAL),
        allow: has(row.flags, flags.SVC_ALLOW),
        deny: has(row.flags, flags.SVC_DENY),
        affinitySec: row.affinitySec,
      },
    ]),
  );
}

function deviceOf(row: abi.SlbDeviceRow): Device {
  const four = [24, 16, 8, 0].map((shift) => (row.addr4 >>> shift) & 255).join('.');
  const six = formatAddress(row.addr6);
  const role = (['pod', 'uplink', 'host'] as const)[row.role] ?? 'pod';
  return {
    role,
    4: row.addr4 === 0 ? undefined : four,
    6: six === '::' ? undefined : six,
    mac: row.mac,
    rpFilter: row.rpFilter,
    rpFilter6: row.rpFilter6,
  };
}

export function readWorld(bench: Bench): World {
  const addresses = new Map<string, Address>();
  const frontends = new Map<string, { service: number; kind: number }>();
  for (const [key, value] of rowsOf(bench, 'slb_frontends')) {
    const { addr, port, proto } = decode(abi.slbFrontendKey, key);
    const { service, kind, flags } = decode(abi.slbFrontend, value);
    const address = formatAddress(addr);
    if (kind === abi.slbFrontendKind.KIND_ADDRESS) addresses.set(address, addressOf(flags));
    else frontends.set(frontendKey(address, port, proto), { service, kind });
  }
  const backends = [...decoded(bench, 'slb_backends', abi.slbBackend)].filter(({ id }) => id !== 0);
  return {
    seed: word(bench.map('slb_seed').get(new Uint8Array(4)) ?? new Uint8Array(4), 0),
    addresses,
    frontends,
    services: readServices(bench),
    backends: new Map(
      backends.map(({ id, addr, port, lists }) => [id, { id, address: formatAddress(addr), port, lists }]),
    ),
    devices: new Map(
      [...rowsOf(bench, 'slb_devices')].map(([key, value]) => [
        word(key, 0),
        deviceOf(decode(abi.slbDevice, value)),
      ]),
    ),
    ranges: [...rowsOf(bench, 'slb_ranges')].map(([key]) => {
      const { prefixLen, kind, service, addr } = decode(abi.slbRangeKey, key);
      return { kind, service, bits: prefixLen - 64, address: addr };
    }),
  };
}

/** Whether a range of this kind has the address, bit by bit. */
export function inRange(world: World, kind: number, service: number, address: Uint8Array): boolean {
  const bit = (bytes: Uint8Array, at: number): number => ((bytes[at >> 3] ?? 0) >> (7 - (at & 7))) & 1;
  return world.ranges.some(
    (range) =>
      range.kind === kind &&
      range.service === service &&
      Array.from({ length: range.bits }, (_, at) => at).every(
        (at) => bit(range.address, at) === bit(address, at),
      ),
  );
}
