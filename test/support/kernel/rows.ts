// Rows for a test's own maps: services, addresses, devices and ranges as the agent would write them, without the agent.
import { endianness } from 'node:os';
import type { BpfMap } from '../../../native/index.ts';
import { decode, encode } from '../../../src/abi/codec.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { MapName } from '../../../src/abi/layout.gen.ts';
import { parseAddress, familyOf } from '../../../src/net/ip.ts';
import { buildTable, tableSizes } from '../../../src/table/maglev.ts';
import { protocols } from '../packet/packet.ts';
import { unspecified } from '../../../src/model/frontends.ts';
import { parseCidr } from '../../../src/net/cidr.ts';

export type Kind = 'cluster' | 'external' | 'balancer' | 'node';

export interface FrontendSpec {
  readonly kind: Kind;
  /** Of a NodePort it only tells the family. */
  readonly address: string;
  readonly port: number;
}

export interface BackendSpec {
  readonly address: string;
  readonly port: number;
  /** Where it may receive from; both lists hold it unless said otherwise. */
  readonly lists?: 'cluster' | 'local' | 'both' | 'none';
}

export interface ServiceSpec {
  /** The first frontend: a cluster address unless `kind` says otherwise. */
  readonly address: string;
  readonly port: number;
  readonly kind?: Kind;
  readonly more?: readonly FrontendSpec[];
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly backends: readonly BackendSpec[];
  /** Traffic policies that are Local. */
  readonly local?: readonly ('internal' | 'external')[];
  readonly affinitySec?: number;
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  /** More of enum slb_service_flags. */
  readonly flags?: number;
}

export interface Service {
  readonly id: number;
  readonly backendIds: readonly number[];
}

export interface DeviceSpec {
  readonly role: 'pod' | 'uplink' | 'host';
  readonly addr4?: string;
  readonly addr6?: string;
  readonly mac?: string;
  readonly netns?: number;
  readonly bridge?: number;
  readonly rpFilter?: number;
  readonly rpFilter6?: number;
  readonly lower?: number;
  readonly vlan?: number;
}

/** Of every device in packet tests, so that the frames of packet.ts are for this host. */
export const ownMac = '02:00:00:00:00:01';

const generation = 1 << abi.slbLimits.SLOT_BITS;
const { LIST_CLUSTER, LIST_LOCAL } = abi.slbBackendLists;
const listBits = { none: 0, cluster: LIST_CLUSTER, local: LIST_LOCAL, both: LIST_CLUSTER | LIST_LOCAL };
const kinds: Readonly<Record<Kind, number>> = {
  cluster: abi.slbFrontendKind.KIND_CLUSTER_IP,
  external: abi.slbFrontendKind.KIND_EXTERNAL_IP,
  balancer: abi.slbFrontendKind.KIND_LOAD_BALANCER,
  node: abi.slbFrontendKind.KIND_NODE_PORT,
};
const roles = {
  pod: abi.slbDeviceRole.DEV_POD,
  uplink: abi.slbDeviceRole.DEV_UPLINK,
  host: abi.slbDeviceRole.DEV_HOST,
};

export const u32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, endianness() === 'LE');
  return bytes;
};

const slotKey = (id: number): Uint8Array => u32(id & abi.slbLimits.SLOT_MASK);

/** The address in the 16 bytes of a row. */
export function mapped(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes === undefined) throw new Error(`${address} is no address`);
  return bytes;
}

const bytesOfMac = (text: string): Uint8Array =>
  Uint8Array.from(text.split(':'), (byte) => parseInt(byte, 16));
const word = (address: string): number => Buffer.from(mapped(address)).readUInt32BE(12);

export function rangeKey(kind: number, service: number, range: string): Uint8Array {
  const { bytes, bits } = parseCidr(range) ?? {};
  if (bytes === undefined || bits === undefined) throw new Error(`${range} is no range`);
  return encode(abi.slbRangeKey, { prefixLen: 64 + bits, kind, service, addr: bytes });
}

export function serviceFlags(spec: ServiceSpec): number {
  const flags = abi.slbServiceFlags;
  return (
    (spec.flags ?? 0) |
    (spec.backends.length > 0 ? flags.SVC_ANY_ENDPOINT : 0) |
    (spec.local?.includes('internal') === true ? flags.SVC_INTERNAL_LOCAL : 0) |
    (spec.local?.includes('external') === true ? flags.SVC_EXTERNAL_LOCAL : 0) |
    (spec.allow === undefined ? 0 : flags.SVC_ALLOW) |
    (spec.deny === undefined ? 0 : flags.SVC_DENY)
  );
}

export abstract class Rows {
  #services = 0;
  #backends = 0;
  #sets = 0;
  #slots = 0;
  #maglev = 0;
  readonly #addresses = new Map<string, number>();

  abstract map(name: MapName): BpfMap;

  addService(spec: ServiceSpec): Service {
    const id = generation | ++this.#services;
    const backendIds = this.#fill(id, spec);
    for (const frontend of [{ kind: 'cluster' as const, ...spec }, ...(spec.more ?? [])]) {
      this.addFrontend(id, frontend, spec.protocol);
    }
    return { id, backendIds };
  }

  addFrontend(id: number, frontend: FrontendSpec, protocol: ServiceSpec['protocol']): void {
    const { kind, port } = frontend;
    const address = kind === 'node' ? unspecified[familyOf(frontend.address)] : frontend.address;
    const key = encode(abi.slbFrontendKey, { addr: mapped(address), port, proto: protocols[protocol] });
    this.map('slb_frontends').put(key, encode(abi.slbFrontend, { service: id, kind: kinds[kind], flags: 0 }));
    if (kind === 'node') return;
    const flags = abi.slbAddressFlags;
    this.addAddress(address, flags.ADDR_SERVICE | (kind === 'cluster' ? flags.ADDR_CLUSTER : 0));
  }

  /** Adds to what is known of an address: enum slb_address_flags. */
  addAddress(address: string, flags: number): void {
    const all = (this.#addresses.get(address) ?? 0) | flags;
    this.#addresses.set(address, all);
    const key = encode(abi.slbFrontendKey, { addr: mapped(address), port: 0, proto: 0 });
    const row = { service: 0, kind: abi.slbFrontendKind.KIND_ADDRESS, flags: all };
    this.map('slb_frontends').put(key, encode(abi.slbFrontend, row));
  }

  /** An address of this node, at which NodePorts answer unless told otherwise. */
  addNodeAddress(address: string, more: { nodePort?: boolean; loopback?: boolean } = {}): void {
    const flags = abi.slbAddressFlags;
    const nodePort = more.nodePort === false ? 0 : flags.ADDR_NODE_PORT;
    this.addAddress(address, flags.ADDR_NODE | nodePort | (more.loopback === true ? flags.ADDR_LOOPBACK : 0));
  }

  addDevice(ifindex: number, spec: DeviceSpec): void {
    const row = {
      addr4: word(spec.addr4 ?? '0.0.0.0'),
      addr6: mapped(spec.addr6 ?? '::'),
      mac: bytesOfMac(spec.mac ?? ownMac),
      role: roles[spec.role],
      netns: spec.netns ?? 0xffffffff,
      bridge: spec.bridge ?? 0,
      rpFilter: spec.rpFilter ?? 0,
      rpFilter6: spec.rpFilter6 ?? 0,
      lower: spec.lower ?? 0,
      vlan: spec.vlan ?? 0,
    };
    this.map('slb_devices').put(u32(ifindex), encode(abi.slbDevice, row));
  }

  addPodRange(range: string): void {
    this.#addRange(abi.slbRangeKind.RANGE_POD, 0, range);
  }

  /** Another description of a service that keeps its id and frontends; backends that are gone lose their rows. */
  replaceBackends(service: Service, spec: ServiceSpec): Service {
    for (const id of service.backendIds) this.removeBackend(id);
    return { id: service.id, backendIds: this.#fill(service.id, spec) };
  }

  setRow(id: number, row: Partial<Omit<abi.SlbServiceRow, 'id'>> = {}): void {
    const full = { clusterSet: 0, localSet: 0, flags: 0, affinitySec: 0, ...row, id };
    this.map('slb_services').put(slotKey(id), encode(abi.slbService, full));
  }

  serviceRow(id: number): abi.SlbServiceRow {
    return decode(abi.slbService, this.map('slb_services').get(slotKey(id)) ?? new Uint8Array(0));
  }

  /** The lists that a backend is in, as the agent changes them in place. */
  setLists(id: number, service: number, spec: BackendSpec, protocol: ServiceSpec['protocol']): void {
    const { address, port, lists = 'both' } = spec;
    const proto = protocols[protocol];
    const row = { addr: mapped(address), port, proto, lists: listBits[lists], id, service };
    this.map('slb_backends').put(slotKey(id), encode(abi.slbBackend, row));
  }

  removeBackend(id: number): void {
    this.map('slb_backends').put(slotKey(id), new Uint8Array(abi.slbBackend.size));
  }

  removeService(id: number): void {
    this.map('slb_services').put(slotKey(id), new Uint8Array(abi.slbService.size));
  }

  #fill(service: number, spec: ServiceSpec): number[] {
    const ids = spec.backends.map((backend) => {
      const id = generation | ++this.#backends;
      this.setLists(id, service, backend, spec.protocol);
      return id;
    });
    const members = spec.backends.map((backend, i) => ({ ...backend, id: ids[i] ?? 0 }));
    const inList = (bit: number): typeof members =>
      members.filter(({ lists = 'both' }) => (listBits[lists] & bit) !== 0);
    this.setRow(service, {
      clusterSet: this.#addSet(inList(LIST_CLUSTER)),
      localSet: spec.local === undefined ? 0 : this.#addSet(inList(LIST_LOCAL)),
      flags: serviceFlags(spec),
      affinitySec: spec.affinitySec ?? 0,
    });
    for (const range of spec.allow ?? []) this.#addRange(abi.slbRangeKind.RANGE_ALLOW, service, range);
    for (const range of spec.deny ?? []) this.#addRange(abi.slbRangeKind.RANGE_DENY, service, range);
    return ids;
  }

  #addSet(members: readonly (BackendSpec & { readonly id: number })[]): number {
    if (members.length === 0) return 0;
    const size = tableSizes(members.length)[0] ?? 0;
    const table = buildTable(
      members.map(({ address, port }) => `${address}:${port}`),
      size,
    );
    const set = { slots: this.#slots, count: members.length, maglev: this.#maglev, maglevSize: size };
    members.forEach(({ id }, i) => this.map('slb_slots').put(u32(this.#slots + i), u32(id)));
    new Uint16Array(this.map('slb_maglev').mmap()).set(table, this.#maglev);
    this.#slots += members.length;
    this.#maglev += size;
    this.map('slb_sets').put(u32(++this.#sets), encode(abi.slbSet, set));
    return this.#sets;
  }

  #addRange(kind: number, service: number, range: string): void {
    this.map('slb_ranges').put(rangeKey(kind, service, range), encode(abi.slbRange, { service }));
  }
}
