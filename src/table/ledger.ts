// What has been asked of the kernel so far: which ids, rows and ranges belong to which service port.
import type { ServicePort } from '../model/types.ts';
import { createFrontends, type Frontends } from './claims.ts';
import { createIds, slotOf, type IdPool } from './ids.ts';
import { createTablePool, type Table, type TablePool } from './pool.ts';
import { createRanges, type Ranges } from './ranges.ts';
import type { BackendRow, ServiceRow } from './rows.ts';

/** Rows of each map. */
export interface Capacity {
  readonly frontends: number;
  readonly services: number;
  readonly backends: number;
  readonly sets: number;
  readonly slots: number;
  readonly maglev: number;
}

/** A row of slb_sets with what it points at. Never changed once a service row names it. */
export interface BackendSet {
  readonly index: number;
  readonly first: number; // in slb_slots
  readonly ids: readonly number[];
  readonly table: Table;
}

/** What one service port has in the kernel. */
export interface PortState {
  /** undefined in rows found at start that no Service has claimed yet. */
  readonly port: ServicePort | undefined;
  readonly row: ServiceRow;
  /** Sorted by address and port. */
  readonly backends: readonly BackendRow[];
  /** undefined: the empty set, index 0. */
  readonly set: BackendSet | undefined;
}

export interface Ledger {
  readonly serviceIds: IdPool;
  readonly backendIds: IdPool;
  readonly setRows: Ranges;
  readonly slotRows: Ranges;
  readonly tables: TablePool;
  readonly frontends: Frontends;
  /** By namespace/name. */
  readonly services: Map<string, readonly PortState[]>;
  /** By slot of the service id: whose flow is this? */
  readonly bySlot: (PortState | undefined)[];
  /** By service id: rows found at start, until a Service claims them or the first sync ends. */
  readonly orphans: Map<number, PortState>;
}

export interface LedgerSeed {
  readonly services: { readonly live: Iterable<number>; readonly free: Iterable<number> };
  readonly backends: { readonly live: Iterable<number>; readonly free: Iterable<number> };
}

const nothing: LedgerSeed = { services: { live: [], free: [] }, backends: { live: [], free: [] } };

export function createLedger(capacity: Capacity, seed: LedgerSeed = nothing): Ledger {
  return {
    serviceIds: createIds(capacity.services, seed.services),
    backendIds: createIds(capacity.backends, seed.backends),
    setRows: createRanges(capacity.sets, 1), // row 0 is the empty set
    slotRows: createRanges(capacity.slots),
    tables: createTablePool(createRanges(capacity.maglev)),
    frontends: createFrontends(capacity.frontends),
    services: new Map(),
    bySlot: [],
    orphans: new Map(),
  };
}

/** The service port with this id, if it still has it. */
export function portById(ledger: Ledger, id: number): PortState | undefined {
  const state = ledger.bySlot[slotOf(id)];
  return state?.row.id === id ? state : undefined;
}

export function allPorts(ledger: Ledger): readonly PortState[] {
  return [...ledger.services.values()].flat();
}
