// Plans one Service: compares its ports with what it has, allocates ids and rows, and notes the rows to write. The cost
// depends on this Service alone.
import type { ServicePort } from '../model/types.ts';
import { wantedBackends, wantedFlags, wantedFrontends, wantedRanges } from './desired.ts';
import { diffBackends, diffRanges, type BackendDiff, type RangeDiff } from './diff.ts';
import { slotOf } from './ids.ts';
import type { TableState, PortState } from './state.ts';
import type { Transaction } from './transaction.ts';
import { frontendKey, kindNumbers, protocolNumbers, type ServiceRow } from './rows.ts';
import { chooseSets, type ChosenSets } from './sets.ts';
import { type BackendSet, distinctSets, noSets } from './pool.ts';
import { beginAllocation, CapacityError, type Allocation } from './allocation.ts';

/** Plans all ports of a Service; [] removes it. A port for which a map has no room keeps what it had. */
export function planService(
  state: TableState,
  transaction: Transaction,
  service: string,
  ports: readonly ServicePort[],
): void {
  const before = new Map(
    (state.services.get(service) ?? []).map((portState) => [portState.port?.key, portState]),
  );
  const after: PortState[] = [];
  for (const port of ports) {
    const old = before.get(port.key);
    before.delete(port.key);
    const planned = planPort(state, transaction, port, old ?? adoptOrphan(state, port));
    if (planned instanceof CapacityError) transaction.shortages.push({ service, map: planned.map });
    const portState = planned instanceof CapacityError ? old : planned;
    if (portState !== undefined) after.push(portState);
  }
  for (const portState of before.values()) removePort(state, transaction, portState);
  if (after.length > 0) state.services.set(service, after);
  else state.services.delete(service);
}

/** Removes rows found at start that no Service has adopted, once all Services are planned (S-103). */
export function planLeftovers(state: TableState, transaction: Transaction): void {
  for (const portState of state.orphans.values()) removePort(state, transaction, portState);
  state.orphans.clear();
  transaction.goneRanges.push(...state.strayRanges.splice(0));
  state.frontends.endAdoption();
}

/** The rows that an earlier agent wrote for the ClusterIP of the port, so that it keeps its ids. */
function adoptOrphan(state: TableState, port: ServicePort): PortState | undefined {
  const own = wantedFrontends(port, 0).find(({ kind }) => kind === kindNumbers.ClusterIP);
  const id = own === undefined ? 0 : (state.frontends.at(frontendKey(own))?.service ?? 0);
  const orphan = state.orphans.get(id);
  if (orphan !== undefined) state.orphans.delete(id);
  return orphan;
}

interface Draft {
  readonly portState: PortState;
  readonly backends: BackendDiff;
  readonly ranges: RangeDiff;
  readonly positions: ChosenSets['positions'];
}

function planPort(
  state: TableState,
  transaction: Transaction,
  port: ServicePort,
  before: PortState | undefined,
): PortState | CapacityError {
  const allocation = beginAllocation(state);
  try {
    const draft = draftPort(allocation, port, before);
    note(transaction, draft, before);
    moveFrontends(state, before, draft.portState);
    state.bySlot[slotOf(draft.portState.row.id)] = draft.portState;
    return draft.portState;
  } catch (error) {
    if (!(error instanceof CapacityError)) throw error;
    allocation.undo();
    if (before !== undefined && before.port === undefined) state.orphans.set(before.row.id, before);
    return error;
  }
}

function draftPort(allocation: Allocation, port: ServicePort, before: PortState | undefined): Draft {
  const id = before?.row.id ?? allocation.serviceId();
  const owner = { service: id, proto: protocolNumbers[port.protocol] };
  const wanted = wantedBackends(port);
  const backends = diffBackends(before?.backends ?? [], wanted, owner, () => allocation.backendId());
  const { sets, positions } = chooseSets(allocation, before?.sets ?? noSets, backends.rows);
  const ranges = diffRanges(before?.ranges ?? [], wantedRanges(port, id));
  allocation.ranges(ranges.put.length);
  const row: ServiceRow = {
    id,
    clusterSet: sets.cluster?.index ?? 0,
    localSet: sets.local?.index ?? 0,
    flags: wantedFlags(port),
    affinitySec: port.affinitySec,
  };
  const portState = { port, row, backends: backends.rows, sets, ranges: ranges.rows };
  return { portState, backends, ranges, positions };
}

function note(transaction: Transaction, draft: Draft, before: PortState | undefined): void {
  const { row, sets } = draft.portState;
  noteBackends(transaction, draft.backends, before);
  const [old, now] = [distinctSets(before?.sets ?? noSets), distinctSets(sets)];
  for (const set of now) if (!old.includes(set)) noteSet(transaction, set, draft.positions.get(set));
  transaction.retired.push(...old.filter((set) => !now.includes(set)));
  transaction.ranges.push(...draft.ranges.put);
  transaction.goneRanges.push(...draft.ranges.gone);
  transaction.services.push({ before: before?.row, after: row });
  if (before === undefined && isReused(row.id)) transaction.clearServiceStats.push(slotOf(row.id));
}

function noteBackends(transaction: Transaction, diff: BackendDiff, before: PortState | undefined): void {
  const known = new Set(before?.backends.map((row) => row.id));
  for (const row of diff.put) {
    transaction.backends.push(row);
    if (!known.has(row.id) && isReused(row.id)) transaction.clearBackendStats.push(slotOf(row.id));
  }
  transaction.goneBackends.push(...diff.gone);
}

function noteSet(transaction: Transaction, set: BackendSet, positions: Uint16Array | undefined): void {
  const { index, first, ids, table } = set;
  transaction.slots.push({ first, ids });
  if (positions !== undefined) transaction.tables.push({ first: table.first, positions });
  transaction.sets.push({
    index,
    slots: first,
    count: ids.length,
    maglev: table.first,
    maglevSize: table.size,
  });
}

/** Whether the slot was in use before. The first generation is 0, so the first id is the slot. */
function isReused(id: number): boolean {
  return id !== slotOf(id);
}

function moveFrontends(state: TableState, before: PortState | undefined, after: PortState): void {
  const old = frontendsOf(before);
  for (const [key, row] of frontendsOf(after)) {
    if (!old.delete(key) && after.port !== undefined) state.frontends.add(after.port.key, row);
  }
  for (const row of old.values()) state.frontends.remove(before?.port?.key ?? '', row);
}

function frontendsOf(
  portState: PortState | undefined,
): Map<string, ReturnType<typeof wantedFrontends>[number]> {
  if (portState?.port === undefined) return new Map();
  const rows = wantedFrontends(portState.port, portState.row.id);
  return new Map(rows.map((row) => [`${frontendKey(row)} ${row.kind}`, row]));
}

function removePort(state: TableState, transaction: Transaction, portState: PortState): void {
  for (const row of frontendsOf(portState).values()) state.frontends.remove(portState.port?.key ?? '', row);
  transaction.retired.push(...distinctSets(portState.sets));
  transaction.goneRanges.push(...portState.ranges);
  transaction.goneServices.push(portState.row.id);
  transaction.goneBackends.push(...portState.backends);
  state.bySlot[slotOf(portState.row.id)] = undefined;
}
