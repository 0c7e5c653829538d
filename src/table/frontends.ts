// Frontend rows. Several service ports may have the same address and port (S-19): the map has the row of the first by
// rank, and the others are kept, so that the next one replaces it when it is removed.
import type { HostAddress } from '../model/types.ts';
import { createAddresses, type Addresses } from './addresses.ts';
import { createBudget, type Budget } from './budget.ts';
import { addressKind, frontendKey, kindNumbers, sameFrontend, type FrontendRow } from './rows.ts';

interface OwnedRow {
  readonly owner: string; // key of the service port
  readonly row: FrontendRow;
}

/** One key of the map. */
interface Entry {
  readonly key: Pick<FrontendRow, 'address' | 'port' | 'proto'>;
  /** By rank; the first is the one to write. */
  readonly owned: OwnedRow[];
  /** As written last. */
  row: FrontendRow | undefined;
}

export interface FrontendMove {
  readonly from: FrontendRow;
  readonly to: FrontendRow;
}

export interface FrontendOps {
  readonly drop: FrontendRow[];
  /** Rows whose service or kind changes. */
  readonly move: FrontendMove[];
  readonly put: FrontendRow[];
  /** Rows for which the map has no room; they stay wanted. */
  readonly unplaced: FrontendRow[];
}

export interface Frontends {
  readonly capacity: number;
  readonly used: number;
  add(owner: string, row: FrontendRow): void;
  remove(owner: string, row: FrontendRow): void;
  /** All addresses of this node. */
  setHost(addresses: readonly HostAddress[]): void;
  /** A row found in the kernel. */
  adopt(row: FrontendRow): void;
  /** The row that was found or written under this key. */
  at(key: string): FrontendRow | undefined;
  /** Every row that was found or written. */
  rows(): Iterable<FrontendRow>;
  /** All Services have been planned: the next flush drops adopted rows that no service port has. */
  endAdoption(): void;
  /** The difference since the last flush. */
  flush(): FrontendOps;
}

interface State {
  readonly rows: Budget;
  readonly entries: Map<string, Entry>;
  readonly addresses: Addresses;
  readonly touched: Set<string>;
}

export function createFrontends(capacity: number): Frontends {
  const state: State = {
    rows: createBudget(capacity),
    entries: new Map(),
    addresses: createAddresses(),
    touched: new Set(),
  };
  return {
    capacity,
    get used() {
      return state.rows.used;
    },
    add: (owner, row) => addRow(state, owner, row),
    remove: (owner, row) => removeRow(state, owner, row),
    setHost: (list) => {
      for (const address of state.addresses.setHost(list)) touchAddress(state, address);
    },
    adopt: (row) => adopt(state, row),
    at: (key) => state.entries.get(key)?.row,
    rows: () => [...state.entries.values()].flatMap((entry) => entry.row ?? []),
    endAdoption: () => {
      state.addresses.endAdoption();
      for (const key of state.entries.keys()) state.touched.add(key);
    },
    flush: () => flush(state),
  };
}

function entryAt(state: State, key: Entry['key']): Entry {
  const text = frontendKey(key);
  let entry = state.entries.get(text);
  if (entry === undefined) state.entries.set(text, (entry = { key, owned: [], row: undefined }));
  return entry;
}

function adopt(state: State, row: FrontendRow): void {
  entryAt(state, row).row = row;
  state.rows.take(1);
  if (row.kind === addressKind) state.addresses.adopt(row.address, row.flags);
}

function addRow(state: State, owner: string, row: FrontendRow): void {
  const { owned } = entryAt(state, row);
  const added = { owner, row };
  const next = owned.findIndex((other) => precedes(added, other));
  owned.splice(next < 0 ? owned.length : next, 0, added);
  state.touched.add(frontendKey(row));
  countAddress(state, row, 1);
}

function removeRow(state: State, owner: string, row: FrontendRow): void {
  const key = frontendKey(row);
  const owned = state.entries.get(key)?.owned;
  const index = owned?.findIndex((one) => one.owner === owner && one.row.kind === row.kind) ?? -1;
  if (owned === undefined || index < 0) return;
  owned.splice(index, 1);
  state.touched.add(key);
  countAddress(state, row, -1);
}

/**
 * Addresses that a controller assigns rank before those that a user may write into a Service; NodePorts are last
 * (S-51). Within a rank the name decides, so that all nodes agree.
 */
const ranks: readonly number[] = [
  kindNumbers.ClusterIP,
  kindNumbers.LoadBalancer,
  kindNumbers.ExternalIP,
  kindNumbers.NodePort,
];

function precedes(a: OwnedRow, b: OwnedRow): boolean {
  if (a.row.kind === b.row.kind) return a.owner < b.owner;
  return ranks.indexOf(a.row.kind) < ranks.indexOf(b.row.kind);
}

/** Counts frontends of the address row. NodePorts have none: they are at all addresses of this node. */
function countAddress(state: State, { address, kind }: FrontendRow, step: 1 | -1): void {
  if (kind === kindNumbers.NodePort) return;
  state.addresses.count(address, kind, step);
  touchAddress(state, address);
}

function touchAddress(state: State, address: string): void {
  const row = addressRow(address, 0);
  entryAt(state, row);
  state.touched.add(frontendKey(row));
}

function addressRow(address: string, flags: number): FrontendRow {
  return { address, port: 0, proto: 0, service: 0, kind: addressKind, flags };
}

function wanted(state: State, { key, owned }: Entry): FrontendRow | undefined {
  if (key.port !== 0 || key.proto !== 0) return owned[0]?.row;
  const flags = state.addresses.flagsOf(key.address);
  return flags === 0 ? undefined : addressRow(key.address, flags);
}

function flush(state: State): FrontendOps {
  const ops: FrontendOps = { drop: [], move: [], put: [], unplaced: [] };
  const touched = [...state.touched];
  state.touched.clear();
  for (const key of touched) dropStale(state, key, ops); // first: it frees rows
  for (const key of touched) putWanted(state, key, ops);
  return ops;
}

function dropStale(state: State, key: string, ops: FrontendOps): void {
  const entry = state.entries.get(key);
  if (entry === undefined || wanted(state, entry) !== undefined) return;
  if (entry.row !== undefined) {
    ops.drop.push(entry.row);
    state.rows.release(1);
  }
  state.entries.delete(key);
}

function putWanted(state: State, key: string, ops: FrontendOps): void {
  const entry = state.entries.get(key);
  const row = entry === undefined ? undefined : wanted(state, entry);
  if (entry === undefined || row === undefined || (entry.row !== undefined && sameFrontend(entry.row, row)))
    return;
  if (entry.row === undefined && !state.rows.take(1)) {
    state.touched.add(key);
    ops.unplaced.push(row);
    return;
  }
  if (entry.row === undefined || row.kind === addressKind) ops.put.push(row);
  else ops.move.push({ from: entry.row, to: row });
  entry.row = row;
}
