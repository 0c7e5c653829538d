// Rows of the kernel's tables, with addresses as text and without byte order, and the operations that change them.
import { slbBackendState, slbFrontendKind, slbServiceFlags } from '../abi/layout.gen.ts';
import type { FrontendKind, ServicePort } from '../model/types.ts';

export interface FrontendRow {
  readonly address: string;
  readonly port: number; // 0 with proto 0: the address itself
  readonly proto: number;
  readonly service: number; // id
  readonly kind: number;
}

export interface BackendRow {
  readonly id: number;
  readonly service: number; // id; 0 in a row that is free
  readonly address: string;
  readonly port: number;
  readonly proto: number;
  readonly state: number;
}

export interface ServiceRow {
  readonly id: number;
  readonly set: number; // index; 0 is the empty set
  readonly flags: number;
  readonly affinitySec: number;
}

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

/** What to write, by map. The phases in order.ts say in which order that is safe. */
export interface Ops {
  readonly dropFrontends: readonly FrontendRow[];
  readonly backends: readonly BackendRow[];
  readonly slots: readonly SlotRows[];
  readonly tables: readonly TableRows[];
  readonly sets: readonly SetRow[];
  readonly services: readonly ServiceRow[];
  readonly frontends: readonly FrontendRow[];
  readonly freeServices: readonly ServiceRow[];
  readonly freeBackends: readonly BackendRow[];
  /** Slots of ids that had another tenant before: their counters start again from 0. */
  readonly clearServiceStats: readonly number[];
  readonly clearBackendStats: readonly number[];
}

/** What the kernel holds, as read at start and by the drift check. Rows that were never used are left out. */
export interface KernelRows {
  readonly frontends: readonly FrontendRow[];
  readonly services: readonly ServiceRow[];
  readonly sets: readonly SetRow[];
  readonly slots: Uint32Array;
  readonly backends: readonly BackendRow[];
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
export const ready = slbBackendState.BE_READY;
export const draining = slbBackendState.BE_DRAINING;
export const anyEndpoint = slbServiceFlags.SVC_ANY_ENDPOINT;

export function frontendKey(row: Pick<FrontendRow, 'address' | 'port' | 'proto'>): string {
  return `${row.address} ${row.port} ${row.proto}`;
}

export function sameFrontend(a: FrontendRow, b: FrontendRow): boolean {
  return a.service === b.service && a.kind === b.kind;
}

export function sameBackend(a: BackendRow, b: BackendRow): boolean {
  return (
    a.id === b.id &&
    a.service === b.service &&
    a.port === b.port &&
    a.proto === b.proto &&
    a.state === b.state &&
    a.address === b.address
  );
}

export function sameService(a: ServiceRow, b: ServiceRow): boolean {
  return a.id === b.id && a.set === b.set && a.flags === b.flags && a.affinitySec === b.affinitySec;
}

/** How many rows the operations write. */
export function countOps(ops: Ops): number {
  return Object.values<readonly unknown[]>({ ...ops }).reduce((sum, list) => sum + list.length, 0);
}
