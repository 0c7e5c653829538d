// One round: the services that changed, planned together, and the operations that bring the kernel there.
import type { FrontendMove, FrontendOps } from './claims.ts';
import { successorOf } from './ids.ts';
import { portById, type BackendSet, type Ledger } from './ledger.ts';
import type {
  BackendRow,
  DeviceRow,
  Ops,
  RangeRow,
  ServiceRow,
  SetRow,
  SlotRows,
  TableRows,
} from './rows.ts';
import { serviceSteps, type ServiceChange, type ServiceSteps } from './steps.ts';

/** A service that is not in the kernel as it should be; it keeps what it had before. */
export interface Shortage {
  readonly service: string; // "" for rows of the host itself: addresses, devices, ranges of pods
  readonly map: string;
  /** Why its rows cannot be written; undefined: the map has no room for them. */
  readonly refusal?: string;
}

export interface Round {
  readonly backends: BackendRow[];
  readonly slots: SlotRows[];
  readonly tables: TableRows[];
  readonly sets: SetRow[];
  readonly ranges: RangeRow[];
  /** Each service once. */
  readonly services: ServiceChange[];
  readonly clearServiceStats: number[];
  readonly clearBackendStats: number[];
  /** What is freed by this round; services by their ids. */
  readonly goneServices: number[];
  readonly goneBackends: BackendRow[];
  readonly goneRanges: RangeRow[];
  readonly goneDevices: DeviceRow[];
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
    ranges: [],
    services: [],
    clearServiceStats: [],
    clearBackendStats: [],
    goneServices: [],
    goneBackends: [],
    goneRanges: [],
    goneDevices: [],
    retired: [],
    shortages: [],
  };
}

/** The operations of everything planned in this round, with frontends and what the host has. */
export function closeRound(ledger: Ledger, round: Round): Ops {
  const frontends = ledger.frontends.flush();
  const devices = ledger.devices.flush();
  const podRanges = ledger.podRanges.flush();
  noteUnplaced(ledger, round, frontends);
  if (devices.unplaced.length > 0) round.shortages.push({ service: '', map: 'slb_devices' });
  if (podRanges.unplaced.length > 0) round.shortages.push({ service: '', map: 'slb_ranges' });
  round.ranges.push(...podRanges.put);
  round.goneRanges.push(...podRanges.drop);
  round.goneDevices.push(...devices.drop);
  const { backends, slots, tables, sets, ranges, clearServiceStats, clearBackendStats } = round;
  const services = serviceOps(round.services, frontends.move);
  return {
    dropFrontends: frontends.drop,
    devices: devices.put,
    clearServiceStats,
    clearBackendStats,
    backends,
    slots,
    tables,
    sets,
    ranges,
    services: services.early,
    moveFrontends: frontends.move.map(({ to }) => to),
    leftServices: services.late,
    frontends: frontends.put,
    dropRanges: round.goneRanges,
    dropDevices: round.goneDevices,
    freeServices: round.goneServices.map(freeService),
    freeBackends: round.goneBackends.map(freeBackend),
  };
}

function noteUnplaced(ledger: Ledger, round: Round, { unplaced }: FrontendOps): void {
  for (const row of unplaced) {
    const port = portById(ledger, row.service)?.port;
    const service = port === undefined ? '' : `${port.namespace}/${port.name}`;
    round.shortages.push({ service, map: 'slb_frontends' });
  }
}

function serviceOps(changes: readonly ServiceChange[], moves: readonly FrontendMove[]): ServiceSteps {
  const left = new Set(moves.map(({ from }) => from.service));
  const joined = new Set(moves.map(({ to }) => to.service));
  const steps = changes.map((change) => {
    const { id } = change.after;
    return serviceSteps(change, { left: left.has(id), joined: joined.has(id) });
  });
  return { early: steps.flatMap(({ early }) => early), late: steps.flatMap(({ late }) => late) };
}

/**
 * After the operations are in the kernel: the ids may be given out again. The retired sets may not yet; release each
 * with releaseSet after a grace period.
 */
export function settleRound(ledger: Ledger, round: Round): void {
  for (const id of round.goneServices) ledger.serviceIds.release(id);
  for (const { id } of round.goneBackends) ledger.backendIds.release(id);
  ledger.rangeRows.release(round.goneRanges.length);
  ledger.deviceRows.release(round.goneDevices.length);
}

/** A free row keeps its slot's next id, which nothing names yet, so that generations survive a restart. */
function freeService(id: number): ServiceRow {
  return { id: successorOf(id), clusterSet: 0, localSet: 0, flags: 0, affinitySec: 0 };
}

function freeBackend({ id }: BackendRow): BackendRow {
  return { id: successorOf(id), service: 0, address: '::', port: 0, proto: 0, lists: 0 };
}
