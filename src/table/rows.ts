// Rows of the maps, with addresses as text and numbers in host order, and the operations that change them.
import {
  slbBackendLists,
  slbDeviceRole,
  slbFrontendKind,
  slbRangeKind,
  slbServiceFlags,
} from '../abi/layout.gen.ts';
import type { DeviceRole, FrontendKind, HostDevice, ServicePort } from '../model/types.ts';

export interface FrontendRow {
  readonly address: string;
  readonly port: number; // 0 with proto 0: the address itself
  readonly proto: number;
  readonly service: number; // id
  readonly kind: number;
  readonly flags: number; // of an address row
}

export interface BackendRow {
  readonly id: number;
  readonly service: number; // id; 0 in a row that is free
  readonly address: string;
  readonly port: number;
  readonly proto: number;
  readonly lists: number; // 0: receives nothing new
}

export interface ServiceRow {
  readonly id: number;
  readonly clusterSet: number; // index; 0 is the empty set
  readonly localSet: number;
  readonly flags: number;
  readonly affinitySec: number;
}

export interface RangeRow {
  readonly kind: number;
  readonly service: number; // id; 0 in ranges of pods
  readonly range: string; // canonical CIDR
}

export type DeviceRow = HostDevice;

export interface SetRow {
  readonly index: number;
  readonly slots: number;
  readonly count: number;
  readonly maglev: number;
  readonly maglevSize: number;
}

export interface SlotRows {
  readonly first: number;
  readonly ids: readonly number[];
}

export interface TableRows {
  readonly first: number;
  readonly positions: Uint16Array;
}

/** Rows to write, by map. order.ts has the order in which that is safe. */
export interface Ops {
  readonly dropFrontends: readonly FrontendRow[];
  readonly devices: readonly DeviceRow[];
  readonly backends: readonly BackendRow[];
  readonly slots: readonly SlotRows[];
  readonly tables: readonly TableRows[];
  readonly sets: readonly SetRow[];
  readonly ranges: readonly RangeRow[];
  /** In order. A row may occur several times: each is safe to be seen after the one before. */
  readonly services: readonly ServiceRow[];
  /** Rows whose service or kind changes. */
  readonly moveFrontends: readonly FrontendRow[];
  /** As `services`. */
  readonly leftServices: readonly ServiceRow[];
  readonly frontends: readonly FrontendRow[];
  readonly dropRanges: readonly RangeRow[];
  readonly dropDevices: readonly DeviceRow[];
  readonly freeServices: readonly ServiceRow[];
  readonly freeBackends: readonly BackendRow[];
  /** Slots that another id had before: their counters are set to 0. */
  readonly clearServiceStats: readonly number[];
  readonly clearBackendStats: readonly number[];
}

/** The rows in the kernel, as read at start and by the drift check. Rows that were never used are left out. */
export interface KernelRows {
  readonly frontends: readonly FrontendRow[];
  readonly services: readonly ServiceRow[];
  readonly sets: readonly SetRow[];
  readonly slots: Uint32Array;
  readonly backends: readonly BackendRow[];
  readonly ranges: readonly RangeRow[];
  readonly devices: readonly DeviceRow[];
}

export const protocolNumbers: Readonly<Record<ServicePort['protocol'], number>> = {
  TCP: 6,
  UDP: 17,
  SCTP: 132,
};

export const kindNumbers: Readonly<Record<FrontendKind, number>> = {
  ClusterIP: slbFrontendKind.KIND_CLUSTER_IP,
  ExternalIP: slbFrontendKind.KIND_EXTERNAL_IP,
  LoadBalancer: slbFrontendKind.KIND_LOAD_BALANCER,
  NodePort: slbFrontendKind.KIND_NODE_PORT,
};

export const addressKind = slbFrontendKind.KIND_ADDRESS;

export const rangeKinds = {
  allow: slbRangeKind.RANGE_ALLOW,
  deny: slbRangeKind.RANGE_DENY,
  pod: slbRangeKind.RANGE_POD,
} as const;

export const roleNumbers: Readonly<Record<DeviceRole, number>> = {
  pod: slbDeviceRole.DEV_POD,
  uplink: slbDeviceRole.DEV_UPLINK,
  host: slbDeviceRole.DEV_HOST,
};

export const serviceFlags = {
  anyEndpoint: slbServiceFlags.SVC_ANY_ENDPOINT,
  internalLocal: slbServiceFlags.SVC_INTERNAL_LOCAL,
  externalLocal: slbServiceFlags.SVC_EXTERNAL_LOCAL,
  allow: slbServiceFlags.SVC_ALLOW,
  deny: slbServiceFlags.SVC_DENY,
  packetsOnly: slbServiceFlags.SVC_NO_SOCKET_LB,
} as const;

export const lists = { cluster: slbBackendLists.LIST_CLUSTER, local: slbBackendLists.LIST_LOCAL } as const;

/** In place of a set index in a service row: the set is inconsistent, so the row must be written. */
export const damaged = 0xffffffff;

export function frontendKey(row: Pick<FrontendRow, 'address' | 'port' | 'proto'>): string {
  return `${row.address} ${row.port} ${row.proto}`;
}

export function sameFrontend(a: FrontendRow, b: FrontendRow): boolean {
  return a.service === b.service && a.kind === b.kind && a.flags === b.flags;
}

export function sameBackend(a: BackendRow, b: BackendRow): boolean {
  return (
    a.id === b.id &&
    a.service === b.service &&
    a.port === b.port &&
    a.proto === b.proto &&
    a.lists === b.lists &&
    a.address === b.address
  );
}

export function sameService(a: ServiceRow, b: ServiceRow): boolean {
  return (
    a.id === b.id &&
    a.clusterSet === b.clusterSet &&
    a.localSet === b.localSet &&
    a.flags === b.flags &&
    a.affinitySec === b.affinitySec
  );
}

export function rangeKey({ kind, service, range }: RangeRow): string {
  return `${kind} ${service} ${range}`;
}

export function sameDevice(a: DeviceRow, b: DeviceRow): boolean {
  return (
    a.addr4 === b.addr4 &&
    a.addr6 === b.addr6 &&
    macOf(a) === macOf(b) &&
    a.role === b.role &&
    a.netns === b.netns &&
    a.bridge === b.bridge &&
    a.rpFilter === b.rpFilter &&
    a.rpFilter6 === b.rpFilter6 &&
    a.lower === b.lower &&
    a.vlan === b.vlan
  );
}

/** A device without a MAC address is the same as one with zeros, such as lo. */
function macOf({ mac }: DeviceRow): string {
  return mac === '' ? '00:00:00:00:00:00' : mac;
}

/** The number of rows that the operations write. */
export function countOps(ops: Ops): number {
  return Object.values<readonly unknown[]>({ ...ops }).reduce((sum, list) => sum + list.length, 0);
}
