// Compares the rows in the kernel with those that were written: bpftool, or an agent that died half-way, may have
// changed them. Finds the rows to write again.
import { slbBackend, slbService, slbSet } from '../abi/layout.gen.ts';
import type { MapName } from '../abi/layout.gen.ts';
import { slotOf } from '../table/ids.ts';
import { allPorts, type TableState, type PortState } from '../table/state.ts';
import { buildTable } from '../table/maglev.ts';
import {
  frontendKey,
  rangeKey,
  sameDevice,
  sameFrontend,
  type BackendRow,
  type Ops,
  type ServiceRow,
  type SetRow,
  type SlotRows,
  type TableRows,
} from '../table/rows.ts';
import { identitiesOf, type Table, type BackendSet, distinctSets } from '../table/pool.ts';
import { hasEncoding, readPages } from './bpfmap.ts';
import { startPace, type Pace } from './pace.ts';
import { encodeBackend, encodeService, encodeSet, type Encode } from './rows.ts';
import { readDevices, readFrontends, readRanges, type Tables } from './tables.ts';

/** Rows of one array map as they should be, by slot. */
class Expected<Row> {
  readonly #image: Uint8Array;
  readonly #rows = new Map<number, Row>();
  /** Rows that could not be encoded: to be tried again with those that differ, and reported. */
  readonly unwritten: Row[] = [];
  readonly #size: number;
  constructor(capacity: number, size: number) {
    this.#image = new Uint8Array(capacity * size);
    this.#size = size;
  }

  add(slot: number, row: Row, encode: Encode<Row>): void {
    if (hasEncoding(row, encode, this.#image, slot * this.#size)) this.#rows.set(slot, row);
    else this.unwritten.push(row);
  }

  /** Rows of this page that differ. Free rows are not compared: no row names them. */
  differing(values: Uint8Array, first: number, count: number): Row[] {
    const expected = this.#image.subarray(first * this.#size, (first + count) * this.#size);
    if (Buffer.compare(expected, values) === 0) return [];
    const found: Row[] = [];
    for (let i = 0; i < count; i++) {
      const row = this.#rows.get(first + i);
      const [from, to] = [i * this.#size, (i + 1) * this.#size];
      if (row !== undefined && Buffer.compare(expected.subarray(from, to), values.subarray(from, to)) !== 0)
        found.push(row);
    }
    return found;
  }
}

/**
 * The operations that repair the maps; undefined when a transaction was written during the comparison, as `moved`
 * tells: the result would be void.
 */
export async function findDrift(
  state: TableState,
  tables: Tables,
  moved: () => boolean,
): Promise<Ops | undefined> {
  const pace = startPace();
  const services = new Expected<ServiceRow>(tables.capacity.services, slbService.size);
  const backends = new Expected<BackendRow>(tables.capacity.backends, slbBackend.size);
  const sets = new Expected<SetRow>(tables.capacity.sets, slbSet.size);
  const states = allPorts(state);
  for (const portState of states) {
    services.add(slotOf(portState.row.id), portState.row, encodeService);
    for (const row of portState.backends) backends.add(slotOf(row.id), row, encodeBackend);
    for (const set of distinctSets(portState.sets)) sets.add(set.index, setRow(set), encodeSet);
    if (pace.due) await pace.rest();
    if (moved()) return undefined;
  }
  const lists = await findLists(states, tables, pace, moved);
  const frontends = await findFrontends(state, tables);
  const ranges = await findRanges(state, states, tables);
  const devices = await findDevices(state, tables);
  const ops: Ops = {
    ...noChanges,
    frontends: frontends.missing,
    dropFrontends: frontends.unknown,
    ranges: ranges.missing,
    dropRanges: ranges.unknown,
    devices: devices.missing,
    dropDevices: devices.unknown,
    backends: await findRows(tables, 'slb_backends', backends, pace),
    slots: lists.slots,
    tables: lists.tables,
    sets: await findRows(tables, 'slb_sets', sets, pace),
    services: await findRows(tables, 'slb_services', services, pace),
  };
  return moved() ? undefined : ops;
}

/** Operations that only changes of Services have. */
const noChanges = {
  clearServiceStats: [],
  clearBackendStats: [],
  moveFrontends: [],
  leftServices: [],
  freeServices: [],
  freeBackends: [],
} as const;

function setRow({ index, first, ids, table }: BackendSet): SetRow {
  return {
    index,
    slots: first,
    count: ids.length,
    maglev: table.first,
    maglevSize: table.size,
  };
}

async function findRows<Row>(
  tables: Tables,
  name: MapName,
  expected: Expected<Row>,
  pace: Pace,
): Promise<readonly Row[]> {
  const found = [...expected.unwritten];
  let first = 0;
  for (const { values, count } of readPages(tables.map(name))) {
    found.push(...expected.differing(values, first, count));
    first += count;
    if (pace.due) await pace.rest();
  }
  return found;
}

interface Lists {
  readonly slots: SlotRows[];
  readonly tables: TableRows[];
}

/**
 * Slot lists and Maglev tables. A table is built again and compared. It has positions only, so it is repaired in place.
 */
async function findLists(
  states: readonly PortState[],
  tables: Tables,
  pace: Pace,
  moved: () => boolean,
): Promise<Lists> {
  const slots = await tables.slots();
  const seen = new Set<Table>();
  const found: Lists = { slots: [], tables: [] };
  for (const { sets, backends } of states) {
    if (pace.due) await pace.rest();
    if (moved()) break;
    for (const { first, ids, table } of distinctSets(sets)) {
      if (ids.some((id, index) => slots[first + index] !== id)) found.slots.push({ first, ids });
      if (seen.has(table)) continue;
      seen.add(table);
      const members = new Set(ids);
      const identities = identitiesOf(backends.filter((row) => members.has(row.id)));
      const positions = buildTable(identities, table.size);
      if (!tables.hasPositions(table.first, positions)) found.tables.push({ first: table.first, positions });
    }
  }
  return found;
}

interface Entries<Row> {
  readonly missing: readonly Row[]; // or different
  readonly unknown: readonly Row[];
}

/** For maps that must have no other rows: each row lets packets in. */
function compareEntries<Row>(
  wanted: Iterable<Row>,
  found: readonly Row[],
  keyOf: (row: Row) => string,
  same: (a: Row, b: Row) => boolean,
): Entries<Row> {
  const missing = new Map([...wanted].map((row) => [keyOf(row), row]));
  const ours = new Set(missing.keys());
  for (const row of found) {
    const want = missing.get(keyOf(row));
    if (want !== undefined && same(want, row)) missing.delete(keyOf(row));
  }
  return {
    missing: [...missing.values()],
    unknown: found.filter((row) => !ours.has(keyOf(row))),
  };
}

async function findFrontends(state: TableState, tables: Tables) {
  const found = await readFrontends(tables.map('slb_frontends'));
  return compareEntries(state.frontends.rows(), found, frontendKey, sameFrontend);
}

async function findRanges(state: TableState, states: readonly PortState[], tables: Tables) {
  const wanted = [...state.podRanges.rows(), ...states.flatMap((portState) => portState.ranges)];
  return compareEntries(wanted, await readRanges(tables.map('slb_ranges')), rangeKey, () => true);
}

async function findDevices(state: TableState, tables: Tables) {
  const found = await readDevices(tables.map('slb_devices'));
  return compareEntries(state.devices.rows(), found, ({ ifindex }) => `${ifindex}`, sameDevice);
}
