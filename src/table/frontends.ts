// Who answers at an address and port. Several service ports may claim the same one (S-19): the map holds the winner's
// row, and the others are remembered, so that one of them takes over when the winner goes.
import type { HostAddress } from '../model/types.ts';
import { createAddresses, type Addresses } from './addresses.ts';
import { createBudget, type Budget } from './budget.ts';
import { addressKind, frontendKey, kindNumbers, sameFrontend, type FrontendRow } from './rows.ts';

interface Claim {
  readonly owner: string; // key of the service port
  readonly row: FrontendRow;
}

interface Place {
  readonly at: Pick<FrontendRow, 'address' | 'port' | 'proto'>;
  /** Best first. */
  readonly claims: Claim[];
  /** As last asked of the kernel. */
  row: FrontendRow | undefined;
}

export interface FrontendMove {
  readonly from: FrontendRow;
  readonly to: FrontendRow;
}

export interface FrontendOps {
  readonly drop: FrontendRow[];
  /** Rows that stay, and lead elsewhere than before. */
  readonly move: FrontendMove[];
  readonly put: FrontendRow[];
  /** Rows for which the map has no room; they stay wanted. */
  readonly unplaced: FrontendRow[];
}

export interface Frontends {
  readonly capacity: number;
  readonly used: number;
  claim(owner: string, row: FrontendRow): void;
  unclaim(owner: string, row: FrontendRow): void;
  /** All addresses of this node. */
  setHost(addresses: readonly HostAddress[]): void;
  /** A row found in the kernel. */
  adopt(row: FrontendRow): void;
  /** The row found or put at this place. */
  at(key: string): FrontendRow | undefined;
  /** Every row asked of the kernel. */
  rows(): Iterable<FrontendRow>;
  /** Every Service has claimed what is its: in the next flush, adopted rows that were not claimed are dropped. */
  endAdoption(): void;
  /** The difference since the last flush. */
  flush(): FrontendOps;
}

interface State {
  readonly rows: Budget;
  readonly places: Map<string, Place>;
  readonly addresses: Addresses;
  readonly touched: Set<string>;
}

export function createFrontends(capacity: number): Frontends {
  const state: State = {
    rows: createBudget(capacity),
    places: new Map(),
    addresses: createAddresses(),
    touched: new Set(),
  };
  return {
    capacity,
    get used() {
      return state.rows.used;
    },
    claim: (owner, row) => addClaim(state, owner, row),
    unclaim: (owner, row) => removeClaim(state, owner, row),
    setHost: (list) => {
      for (const address of state.addresses.setHost(list)) touchAddress(state, address);
    },
    adopt: (row) => adopt(state, row),
    at: (key) => state.places.get(key)?.row,
    rows: () => [...state.places.values()].flatMap((place) => place.row ?? []),
    endAdoption: () => {
      state.addresses.endAdoption();
      for (const key of state.places.keys()) state.touched.add(key);
    },
    flush: () => flush(state),
  };
}

function placeAt(state: State, at: Place['at']): Place {
  const key = frontendKey(at);
  let place = state.places.get(key);
  if (place === undefined) state.places.set(key, (place = { at, claims: [], row: undefined }));
  return place;
}

function adopt(state: State, row: FrontendRow): void {
  placeAt(state, row).row = row;
  state.rows.take(1);
  if (row.kind === addressKind) state.addresses.adopt(row.address, row.flags);
}

function addClaim(state: State, owner: string, row: FrontendRow): void {
  const { claims } = placeAt(state, row);
  const claim = { owner, row };
  const behind = claims.findIndex((other) => isBetter(claim, other));
  claims.splice(behind < 0 ? claims.length : behind, 0, claim);
  state.touched.add(frontendKey(row));
  countClaim(state, row, 1);
}

function removeClaim(state: State, owner: string, row: FrontendRow): void {
  const key = frontendKey(row);
  const claims = state.places.get(key)?.claims;
  const index = claims?.findIndex((claim) => claim.owner === owner && claim.row.kind === row.kind) ?? -1;
  if (claims === undefined || index < 0) return;
  claims.splice(index, 1);
  state.touched.add(key);
  countClaim(state, row, -1);
}

/**
 * What a controller has assigned comes before what a user may write into a Service; NodePorts come last (S-51). Among
 * equals the name decides, so that every node answers alike.
 */
const ranks: readonly number[] = [
  kindNumbers.ClusterIP,
  kindNumbers.LoadBalancer,
  kindNumbers.ExternalIP,
  kindNumbers.NodePort,
];

function isBetter(a: Claim, b: Claim): boolean {
  if (a.row.kind === b.row.kind) return a.owner < b.owner;
  return ranks.indexOf(a.row.kind) < ranks.indexOf(b.row.kind);
}

/** The address row stands for the whole address. NodePorts have none: they are at all addresses of this node. */
function countClaim(state: State, { address, kind }: FrontendRow, step: 1 | -1): void {
  if (kind === kindNumbers.NodePort) return;
  state.addresses.count(address, kind, step);
  touchAddress(state, address);
}

function touchAddress(state: State, address: string): void {
  const row = addressRow(address, 0);
  placeAt(state, row);
  state.touched.add(frontendKey(row));
}

function addressRow(address: string, flags: number): FrontendRow {
  return { address, port: 0, proto: 0, service: 0, kind: addressKind, flags };
}

function wanted(state: State, { at, claims }: Place): FrontendRow | undefined {
  if (at.port !== 0 || at.proto !== 0) return claims[0]?.row;
  const flags = state.addresses.flagsOf(at.address);
  return flags === 0 ? undefined : addressRow(at.address, flags);
}

function flush(state: State): FrontendOps {
  const ops: FrontendOps = { drop: [], move: [], put: [], unplaced: [] };
  const touched = [...state.touched];
  state.touched.clear();
  for (const key of touched) dropStale(state, key, ops); // first: it makes room
  for (const key of touched) putWanted(state, key, ops);
  return ops;
}

function dropStale(state: State, key: string, ops: FrontendOps): void {
  const place = state.places.get(key);
  if (place === undefined || wanted(state, place) !== undefined) return;
  if (place.row !== undefined) {
    ops.drop.push(place.row);
    state.rows.release(1);
  }
  state.places.delete(key);
}

function putWanted(state: State, key: string, ops: FrontendOps): void {
  const place = state.places.get(key);
  const row = place === undefined ? undefined : wanted(state, place);
  if (place === undefined || row === undefined || (place.row !== undefined && sameFrontend(place.row, row)))
    return;
  if (place.row === undefined && !state.rows.take(1)) {
    state.touched.add(key);
    ops.unplaced.push(row);
    return;
  }
  if (place.row === undefined || row.kind === addressKind) ops.put.push(row);
  else ops.move.push({ from: place.row, to: row });
  place.row = row;
}
