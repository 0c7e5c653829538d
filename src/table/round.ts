// One round: the services that changed, planned together, and the operations that bring the kernel there.
import { successorOf } from './ids.ts';
import { portById, type BackendSet, type Ledger } from './ledger.ts';
import type { BackendRow, Ops, ServiceRow, SetRow, SlotRows, TableRows } from './rows.ts';

/** A service (or address, when only its address row is meant) that does not fit; it keeps what it had before. */
export interface Shortage {
  readonly service: string;
  readonly map: string;
}

export interface Round {
  readonly backends: BackendRow[];
  readonly slots: SlotRows[];
  readonly tables: TableRows[];
  readonly sets: SetRow[];
  readonly services: ServiceRow[];
  readonly clearServiceStats: number[];
  readonly clearBackendStats: number[];
  /** Ids whose rows are freed by this round. */
  readonly goneServices: number[];
  readonly goneBackends: number[];
  /** Left by their service row in this round; packets may still be reading them. */
  readonly retired: BackendSet[];
  readonly shortages: Shortage[];
}

export function openRound(): Round {
  return {
    backends: [],
    slots: [],
    tables: [],
    sets: [],
    services: [],
    clearServiceStats: [],
    clearBackendStats: [],
    goneServices: [],
    goneBackends: [],
    retired: [],
    shortages: [],
  };
}

/** The operations of everything planned in this round, frontends included. */
export function closeRound(ledger: Ledger, round: Round): Ops {
  const { drop, put, unplaced } = ledger.frontends.flush();
  for (const row of unplaced) {
    const port = portById(ledger, row.service)?.port;
    const service = port === undefined ? row.address : `${port.namespace}/${port.name}`;
    round.shortages.push({ service, map: 'slb_frontends' });
  }
  const { backends, slots, tables, sets, services, clearServiceStats, clearBackendStats } = round;
  return {
    dropFrontends: drop,
    clearServiceStats,
    clearBackendStats,
    backends,
    slots,
    tables,
    sets,
    services,
    frontends: put,
    freeServices: round.goneServices.map(freeService),
    freeBackends: round.goneBackends.map(freeBackend),
  };
}

/**
 * After the operations are in the kernel: the ids may be given out again. The retired sets may not yet; release each
 * with releaseSet after a grace period.
 */
export function settleRound(ledger: Ledger, round: Round): void {
  for (const id of round.goneServices) ledger.serviceIds.release(id);
  for (const id of round.goneBackends) ledger.backendIds.release(id);
}

/** A free row keeps its slot's next id, which nothing names yet, so that generations survive a restart. */
function freeService(id: number): ServiceRow {
  return { id: successorOf(id), set: 0, flags: 0, affinitySec: 0 };
}

function freeBackend(id: number): BackendRow {
  return { id: successorOf(id), service: 0, address: '::', port: 0, proto: 0, state: 0 };
}
