// Who answers at an address and port. Several service ports may claim the same one (S-19): the map holds the winner's
// row, and the others are remembered, so that one of them takes over when the winner goes.
import { addressKind, frontendKey, sameFrontend, type FrontendRow } from './rows.ts';

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

export interface FrontendOps {
  readonly drop: FrontendRow[];
  readonly put: FrontendRow[];
  /** Rows for which the map has no room; they stay wanted. */
  readonly unplaced: FrontendRow[];
}

export interface Frontends {
  readonly capacity: number;
  readonly used: number;
  claim(owner: string, row: FrontendRow): void;
  unclaim(owner: string, row: FrontendRow): void;
  /** A row found in the kernel. */
  adopt(row: FrontendRow): void;
  /** The row found or put at this place. */
  at(key: string): FrontendRow | undefined;
  /** Every row asked of the kernel. */
  rows(): Iterable<FrontendRow>;
  /** Everything is compared in the next flush, so that adopted rows that nobody has claimed are dropped. */
  touchAll(): void;
  /** The difference since the last flush. */
  flush(): FrontendOps;
}

interface State {
  readonly capacity: number;
  readonly places: Map<string, Place>;
  readonly onAddress: Map<string, number>; // claims by address, whatever the port
  readonly touched: Set<string>;
  used: number;
}

export function createFrontends(capacity: number): Frontends {
  const state: State = { capacity, places: new Map(), onAddress: new Map(), touched: new Set(), used: 0 };
  return {
    capacity,
    get used() {
      return state.used;
    },
    claim: (owner, row) => addClaim(state, owner, row),
    unclaim: (owner, row) => removeClaim(state, owner, row),
    adopt: (row) => {
      placeAt(state, row).row = row;
      state.used++;
    },
    at: (key) => state.places.get(key)?.row,
    rows: () => [...state.places.values()].flatMap((place) => place.row ?? []),
    touchAll: () => {
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

function addClaim(state: State, owner: string, row: FrontendRow): void {
  const { claims } = placeAt(state, row);
  const claim = { owner, row };
  const behind = claims.findIndex((other) => isBetter(claim, other));
  claims.splice(behind < 0 ? claims.length : behind, 0, claim);
  state.touched.add(frontendKey(row));
  countAddress(state, row.address, 1);
}

function removeClaim(state: State, owner: string, row: FrontendRow): void {
  const key = frontendKey(row);
  const claims = state.places.get(key)?.claims;
  const index = claims?.findIndex((claim) => claim.owner === owner && claim.row.kind === row.kind) ?? -1;
  if (claims === undefined || index < 0) return;
  claims.splice(index, 1);
  state.touched.add(key);
  countAddress(state, row.address, -1);
}

/** Kinds in the order of S-51; among equals the name decides, so that every node answers alike. */
function isBetter(a: Claim, b: Claim): boolean {
  return a.row.kind === b.row.kind ? a.owner < b.owner : a.row.kind < b.row.kind;
}

/** The address row stands for the whole address: there as long as any port of it is claimed. */
function countAddress(state: State, address: string, step: number): void {
  const count = (state.onAddress.get(address) ?? 0) + step;
  if (count > 0) state.onAddress.set(address, count);
  else state.onAddress.delete(address);
  const row = addressRow(address);
  placeAt(state, row);
  state.touched.add(frontendKey(row));
}

function addressRow(address: string): FrontendRow {
  return { address, port: 0, proto: 0, service: 0, kind: addressKind };
}

function wanted(state: State, { at, claims }: Place): FrontendRow | undefined {
  if (claims[0] !== undefined) return claims[0].row;
  return at.port === 0 && at.proto === 0 && state.onAddress.has(at.address)
    ? addressRow(at.address)
    : undefined;
}

function flush(state: State): FrontendOps {
  const ops: FrontendOps = { drop: [], put: [], unplaced: [] };
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
    state.used--;
  }
  state.places.delete(key);
}

function putWanted(state: State, key: string, ops: FrontendOps): void {
  const place = state.places.get(key);
  const row = place === undefined ? undefined : wanted(state, place);
  if (place === undefined || row === undefined || (place.row !== undefined && sameFrontend(place.row, row)))
    return;
  if (place.row === undefined && state.used >= state.capacity) {
    state.touched.add(key);
    ops.unplaced.push(row);
    return;
  }
  if (place.row === undefined) state.used++;
  place.row = row;
  ops.put.push(row);
}
