// One service's new ports against what it has: takes ids and ranges, and notes the rows to write. O(this service).
import type { ServicePort } from '../model/types.ts';
import { wantedBackends, wantedFlags, wantedFrontends, wantedRanges } from './desired.ts';
import { diffBackends, diffRanges, type BackendDiff, type RangeDiff } from './diff.ts';
import { slotOf } from './ids.ts';
import type { BackendSet, Ledger, PortState } from './ledger.ts';
import type { Round } from './round.ts';
import { frontendKey, kindNumbers, protocolNumbers, type ServiceRow } from './rows.ts';
import { chooseSets, distinctSets, noSets, type ChosenSets } from './sets.ts';
import { beginTaking, Exhausted, type Taking } from './take.ts';

/** Plans all ports of one service ([] when it is gone). A port that does not fit keeps what it had. */
export function planService(
  ledger: Ledger,
  round: Round,
  service: string,
  ports: readonly ServicePort[],
): void {
  const before = new Map((ledger.services.get(service) ?? []).map((state) => [state.port?.key, state]));
  const after: PortState[] = [];
  for (const port of ports) {
    const old = before.get(port.key);
    before.delete(port.key);
    const planned = planPort(ledger, round, port, old ?? claimOrphan(ledger, port));
    if (planned instanceof Exhausted) round.shortages.push({ service, map: planned.map });
    const state = planned instanceof Exhausted ? old : planned;
    if (state !== undefined) after.push(state);
  }
  for (const state of before.values()) removePort(ledger, round, state);
  if (after.length > 0) ledger.services.set(service, after);
  else ledger.services.delete(service);
}

/** Rows found at start that no Service has claimed although all are known now (S-103). */
export function planLeftovers(ledger: Ledger, round: Round): void {
  for (const state of ledger.orphans.values()) removePort(ledger, round, state);
  ledger.orphans.clear();
  round.goneRanges.push(...ledger.strayRanges.splice(0));
  ledger.frontends.settle();
}

/** The rows that an earlier agent wrote for the port's cluster address: their ids go on. Others move between Services. */
function claimOrphan(ledger: Ledger, port: ServicePort): PortState | undefined {
  const own = wantedFrontends(port, 0).find(({ kind }) => kind === kindNumbers.ClusterIP);
  const id = own === undefined ? 0 : (ledger.frontends.at(frontendKey(own))?.service ?? 0);
  const orphan = ledger.orphans.get(id);
  if (orphan !== undefined) ledger.orphans.delete(id);
  return orphan;
}

interface Draft {
  readonly state: PortState;
  readonly backends: BackendDiff;
  readonly ranges: RangeDiff;
  readonly positions: ChosenSets['positions'];
}

function planPort(
  ledger: Ledger,
  round: Round,
  port: ServicePort,
  before: PortState | undefined,
): PortState | Exhausted {
  const taking = beginTaking(ledger);
  try {
    const draft = draftPort(taking, port, before);
    note(round, draft, before);
    moveClaims(ledger, before, draft.state);
    ledger.bySlot[slotOf(draft.state.row.id)] = draft.state;
    return draft.state;
  } catch (error) {
    if (!(error instanceof Exhausted)) throw error;
    taking.undo();
    if (before !== undefined && before.port === undefined) ledger.orphans.set(before.row.id, before);
    return error;
  }
}

function draftPort(taking: Taking, port: ServicePort, before: PortState | undefined): Draft {
  const id = before?.row.id ?? taking.serviceId();
  const owner = { service: id, proto: protocolNumbers[port.protocol] };
  const wanted = wantedBackends(port);
  const backends = diffBackends(before?.backends ?? [], wanted, owner, () => taking.backendId());
  const { sets, positions } = chooseSets(taking, before?.sets ?? noSets, backends.rows);
  const ranges = diffRanges(before?.ranges ?? [], wantedRanges(port, id));
  taking.ranges(ranges.put.length);
  const row: ServiceRow = {
    id,
    clusterSet: sets.cluster?.index ?? 0,
    localSet: sets.local?.index ?? 0,
    flags: wantedFlags(port),
    affinitySec: port.affinitySec,
  };
  const state = { port, row, backends: backends.rows, sets, ranges: ranges.rows };
  return { state, backends, ranges, positions };
}

function note(round: Round, draft: Draft, before: PortState | undefined): void {
  const { row, sets } = draft.state;
  noteBackends(round, draft.backends, before);
  const [old, now] = [distinctSets(before?.sets ?? noSets), distinctSets(sets)];
  for (const set of now) if (!old.includes(set)) noteSet(round, set, draft.positions.get(set));
  round.retired.push(...old.filter((set) => !now.includes(set)));
  round.ranges.push(...draft.ranges.put);
  round.goneRanges.push(...draft.ranges.gone);
  round.services.push({ before: before?.row, after: row });
  if (before === undefined && hadTenant(row.id)) round.clearServiceStats.push(slotOf(row.id));
}

function noteBackends(round: Round, diff: BackendDiff, before: PortState | undefined): void {
  const known = new Set(before?.backends.map((row) => row.id));
  for (const row of diff.put) {
    round.backends.push(row);
    if (!known.has(row.id) && hadTenant(row.id)) round.clearBackendStats.push(slotOf(row.id));
  }
  round.goneBackends.push(...diff.gone);
}

function noteSet(round: Round, set: BackendSet, positions: Uint16Array | undefined): void {
  const { index, first, ids, table } = set;
  round.slots.push({ first, ids });
  if (positions !== undefined) round.tables.push({ first: table.first, positions });
  round.sets.push({ index, slots: first, count: ids.length, maglev: table.first, maglevSize: table.size });
}

/** The first generation is 0, and then the id is the slot. */
function hadTenant(id: number): boolean {
  return id !== slotOf(id);
}

function moveClaims(ledger: Ledger, before: PortState | undefined, after: PortState): void {
  const old = claimsOf(before);
  for (const [key, row] of claimsOf(after)) {
    if (!old.delete(key) && after.port !== undefined) ledger.frontends.claim(after.port.key, row);
  }
  for (const row of old.values()) ledger.frontends.unclaim(before?.port?.key ?? '', row);
}

function claimsOf(state: PortState | undefined): Map<string, ReturnType<typeof wantedFrontends>[number]> {
  if (state?.port === undefined) return new Map();
  const rows = wantedFrontends(state.port, state.row.id);
  return new Map(rows.map((row) => [`${frontendKey(row)} ${row.kind}`, row]));
}

function removePort(ledger: Ledger, round: Round, state: PortState): void {
  for (const row of claimsOf(state).values()) ledger.frontends.unclaim(state.port?.key ?? '', row);
  round.retired.push(...distinctSets(state.sets));
  round.goneRanges.push(...state.ranges);
  round.goneServices.push(state.row.id);
  round.goneBackends.push(...state.backends);
  ledger.bySlot[slotOf(state.row.id)] = undefined;
}
