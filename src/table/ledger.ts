// What has been asked of the kernel so far: which ids, rows and ranges belong to which service port.
import type { HostFacts, ServicePort } from '../model/types.ts';
import { createBudget, type Budget } from './budget.ts';
import { createFrontends, type Frontends } from './claims.ts';
import { createIds, slotOf, type IdPool } from './ids.ts';
import { createMirror, type Mirror } from './mirror.ts';
import { createTablePool, type Table, type TablePool } from './pool.ts';
import { createRanges, type Ranges } from './ranges.ts';
import {
  rangeKey,
  rangeKinds,
  sameDevice,
  type BackendRow,
  type DeviceRow,
  type RangeRow,
  type ServiceRow,
} from './rows.ts';
import type { BackendSets } from './sets.ts';

/** Rows of each map. */
export interface Capacity {
  readonly frontends: number;
  readonly services: number;
  readonly backends: number;
  readonly sets: number;
  readonly slots: number;
  readonly maglev: number;
  readonly ranges: number;
  readonly devices: number;
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
  readonly sets: BackendSets;
  readonly ranges: readonly RangeRow[];
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
  /** Of slb_ranges, whosever they are. */
  readonly rangeRows: Budget;
  readonly podRanges: Mirror<RangeRow>;
  /** Ranges found at start of services that are not there: to be dropped when the first sync ends. */
  readonly strayRanges: RangeRow[];
  readonly deviceRows: Budget;
  readonly devices: Mirror<DeviceRow>;
}

export interface LedgerSeed {
  readonly services: {
    readonly live: Iterable<number>;
    readonly free: Iterable<number>;
  };
  readonly backends: {
    readonly live: Iterable<number>;
    readonly free: Iterable<number>;
  };
}

const nothing: LedgerSeed = {
  services: { live: [], free: [] },
  backends: { live: [], free: [] },
};

export function createLedger(capacity: Capacity, seed: LedgerSeed = nothing): Ledger {
  const rangeRows = createBudget(capacity.ranges);
  const deviceRows = createBudget(capacity.devices);
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
    rangeRows,
    podRanges: createMirror(rangeRows, rangeKey, () => true), // a range has nothing but its key
    strayRanges: [],
    deviceRows,
    devices: createMirror(deviceRows, ({ ifindex }) => `${ifindex}`, sameDevice),
  };
}

/** What the ledger said is no longer believed: it becomes the other one, for all who hold it. */
export function replaceLedger(ledger: Ledger, by: Ledger): void {
  Object.assign(ledger, by);
}

/** What the host is now; the next round brings it into the kernel. */
export function setHost(ledger: Ledger, { addresses, devices, podRanges }: HostFacts): void {
  ledger.frontends.setHost(addresses);
  ledger.devices.want(devices);
  ledger.podRanges.want(podRanges.map((range) => ({ kind: rangeKinds.pod, service: 0, range })));
}

/** The service port with this id, if it still has it. */
export function portById(ledger: Ledger, id: number): PortState | undefined {
  const state = ledger.bySlot[slotOf(id)];
  return state?.row.id === id ? state : undefined;
}

/** Of a service port; of one that no Service has claimed yet, too. */
export function backendsById(ledger: Ledger, id: number): readonly BackendRow[] {
  return (portById(ledger, id) ?? ledger.orphans.get(id))?.backends ?? [];
}

export function allPorts(ledger: Ledger): readonly PortState[] {
  return [...ledger.services.values()].flat();
}
