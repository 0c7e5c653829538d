// One transaction: the changes of several Services, planned together, and the operations that write them.
import type { FrontendMove, FrontendOps } from './frontends.ts';
import { successorOf } from './ids.ts';
import { portById, type TableState } from './state.ts';
import type { BackendSet } from './pool.ts';
import type {
  BackendRow,
  DeviceRow,
  Ops,
  RangeRow,
  ServiceRow,
  SetRow,
  SlotRows,
  TableRows,
} from './rows.ts';
import { serviceSteps, type ServiceChange, type ServiceSteps } from './steps.ts';

/** A Service whose rows could not be planned or written; it keeps what it had before. */
export interface Shortage {
  readonly service: string; // "" for rows of the host: addresses, devices, ranges of pods
  readonly map: string;
  /** Why its rows cannot be written; undefined: the map has no room for them. */
  readonly refusal?: string;
}

export interface Transaction {
  readonly backends: BackendRow[];
  readonly slots: SlotRows[];
  readonly tables: TableRows[];
  readonly sets: SetRow[];
  readonly ranges: RangeRow[];
  /** At most one per service port. */
  readonly services: ServiceChange[];
  readonly clearServiceStats: number[];
  readonly clearBackendStats: number[];
  /** Freed by this transaction; services by id. */
  readonly goneServices: number[];
  readonly goneBackends: BackendRow[];
  readonly goneRanges: RangeRow[];
  readonly goneDevices: DeviceRow[];
  /** Sets that no service row names any more; packets may still be reading them. */
  readonly retired: BackendSet[];
  readonly shortages: Shortage[];
}

export function openTransaction(): Transaction {
  return {
    backends: [],
    slots: [],
    tables: [],
    sets: [],
    ranges: [],
    services: [],
    clearServiceStats: [],
    clearBackendStats: [],
    goneServices: [],
    goneBackends: [],
    goneRanges: [],
    goneDevices: [],
    retired: [],
    shortages: [],
  };
}

/** The operations of everything planned in this transaction, with frontends and rows of the host. */
export function closeTransaction(state: TableState, transaction: Transaction): Ops {
  const frontends = state.frontends.flush();
  const devices = state.devices.flush();
  const podRanges = state.podRanges.flush();
  noteUnplaced(state, transaction, frontends);
  if (devices.unplaced.length > 0) transaction.shortages.push({ service: '', map: 'slb_devices' });
  if (podRanges.unplaced.length > 0) transaction.shortages.push({ service: '', map: 'slb_ranges' });
  transaction.ranges.push(...podRanges.put);
  transaction.goneRanges.push(...podRanges.drop);
  transaction.goneDevices.push(...devices.drop);
  const { backends, slots, tables, sets, ranges, clearServiceStats, clearBackendStats } = transaction;
  const services = serviceOps(transaction.services, frontends.move);
  return {
    dropFrontends: frontends.drop,
    devices: devices.put,
    clearServiceStats,
    clearBackendStats,
    backends,
    slots,
    tables,
    sets,
    ranges,
    services: services.early,
    moveFrontends: frontends.move.map(({ to }) => to),
    leftServices: services.late,
    frontends: frontends.put,
    dropRanges: transaction.goneRanges,
    dropDevices: transaction.goneDevices,
    freeServices: transaction.goneServices.map(freeService),
    freeBackends: transaction.goneBackends.map(freeBackend),
  };
}

function noteUnplaced(state: TableState, transaction: Transaction, { unplaced }: FrontendOps): void {
  for (const row of unplaced) {
    const port = portById(state, row.service)?.port;
    const service = port === undefined ? '' : `${port.namespace}/${port.name}`;
    transaction.shortages.push({ service, map: 'slb_frontends' });
  }
}

function serviceOps(changes: readonly ServiceChange[], moves: readonly FrontendMove[]): ServiceSteps {
  const left = new Set(moves.map(({ from }) => from.service));
  const joined = new Set(moves.map(({ to }) => to.service));
  const steps = changes.map((change) => {
    const { id } = change.after;
    return serviceSteps(change, { left: left.has(id), joined: joined.has(id) });
  });
  return { early: steps.flatMap(({ early }) => early), late: steps.flatMap(({ late }) => late) };
}

/**
 * Called when the operations are written: releases ids and rows. Retired sets may still be read: release each with
 * releaseSet() after a grace period.
 */
export function commit(state: TableState, transaction: Transaction): void {
  for (const id of transaction.goneServices) state.serviceIds.release(id);
  for (const { id } of transaction.goneBackends) state.backendIds.release(id);
  state.rangeRows.release(transaction.goneRanges.length);
  state.deviceRows.release(transaction.goneDevices.length);
}

/** A free row has the next id of its slot, which no other row names, so that generations survive a restart. */
function freeService(id: number): ServiceRow {
  return { id: successorOf(id), clusterSet: 0, localSet: 0, flags: 0, affinitySec: 0 };
}

function freeBackend({ id }: BackendRow): BackendRow {
  return { id: successorOf(id), service: 0, address: '::', port: 0, proto: 0, lists: 0 };
}
