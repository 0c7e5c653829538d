// The state of the maps as planned so far: which ids, rows and ranges belong to which service port.
import type { HostFacts, ServicePort } from '../model/types.ts';
import { createBudget, type Budget } from './budget.ts';
import { createFrontends, type Frontends } from './frontends.ts';
import { createIds, slotOf, type IdPool } from './ids.ts';
import { createFullMap, type FullMap } from './fullmap.ts';
import { createTablePool, type BackendSets, type TablePool } from './pool.ts';
import { createExtents, type Extents } from './extents.ts';
import {
  rangeKey,
  rangeKinds,
  sameDevice,
  type BackendRow,
  type DeviceRow,
  type RangeRow,
  type ServiceRow,
} from './rows.ts';

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

/** The rows of one service port. */
export interface PortState {
  /** undefined for rows found at start that no Service has adopted yet. */
  readonly port: ServicePort | undefined;
  readonly row: ServiceRow;
  /** Sorted by address and port. */
  readonly backends: readonly BackendRow[];
  readonly sets: BackendSets;
  readonly ranges: readonly RangeRow[];
}

export interface TableState {
  readonly serviceIds: IdPool;
  readonly backendIds: IdPool;
  readonly setRows: Extents;
  readonly slotRows: Extents;
  readonly tables: TablePool;
  readonly frontends: Frontends;
  /** By namespace/name. */
  readonly services: Map<string, readonly PortState[]>;
  /** By slot of the service id, to find the service port of a flow. */
  readonly bySlot: (PortState | undefined)[];
  /** By service id: rows found at start, until a Service adopts them or the first sync ends. */
  readonly orphans: Map<number, PortState>;
  /** All rows of slb_ranges. */
  readonly rangeRows: Budget;
  readonly podRanges: FullMap<RangeRow>;
  /** Ranges found at start whose service has no row: dropped when the first sync ends. */
  readonly strayRanges: RangeRow[];
  readonly deviceRows: Budget;
  readonly devices: FullMap<DeviceRow>;
}

export interface StateSeed {
  readonly services: {
    readonly live: Iterable<number>;
    readonly free: Iterable<number>;
  };
  readonly backends: {
    readonly live: Iterable<number>;
    readonly free: Iterable<number>;
  };
}

const nothing: StateSeed = {
  services: { live: [], free: [] },
  backends: { live: [], free: [] },
};

export function createState(capacity: Capacity, seed: StateSeed = nothing): TableState {
  const rangeRows = createBudget(capacity.ranges);
  const deviceRows = createBudget(capacity.devices);
  return {
    serviceIds: createIds(capacity.services, seed.services),
    backendIds: createIds(capacity.backends, seed.backends),
    setRows: createExtents(capacity.sets, 1), // row 0 is the empty set
    slotRows: createExtents(capacity.slots),
    tables: createTablePool(createExtents(capacity.maglev)),
    frontends: createFrontends(capacity.frontends),
    services: new Map(),
    bySlot: [],
    orphans: new Map(),
    rangeRows,
    podRanges: createFullMap(rangeRows, rangeKey, () => true), // a range has nothing but its key
    strayRanges: [],
    deviceRows,
    devices: createFullMap(deviceRows, ({ ifindex }) => `${ifindex}`, sameDevice),
  };
}

/** Replaces the content of `state` in place, since other objects hold references to it. */
export function replaceState(state: TableState, by: TableState): void {
  Object.assign(state, by);
}

/** Sets the facts of the host; the next transaction writes them. */
export function setHost(state: TableState, { addresses, devices, podRanges }: HostFacts): void {
  state.frontends.setHost(addresses);
  state.devices.want(devices);
  state.podRanges.want(podRanges.map((range) => ({ kind: rangeKinds.pod, service: 0, range })));
}

/** The service port with this id; undefined when it was removed. */
export function portById(state: TableState, id: number): PortState | undefined {
  const portState = state.bySlot[slotOf(id)];
  return portState?.row.id === id ? portState : undefined;
}

/** The backends of a service port, or of rows that no Service has adopted yet. */
export function backendsById(state: TableState, id: number): readonly BackendRow[] {
  return (portById(state, id) ?? state.orphans.get(id))?.backends ?? [];
}

export function allPorts(state: TableState): readonly PortState[] {
  return [...state.services.values()].flat();
}
