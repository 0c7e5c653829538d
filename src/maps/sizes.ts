// How many rows each map gets, from the few numbers an operator chooses, and what to say when that is too little.
import { native } from '../../native/index.ts';
import { slbLimits, slbStats, type MapName } from '../abi/layout.gen.ts';
import type { Shortage } from '../table/transaction.ts';

export interface Limits {
  readonly services: number; // service ports
  readonly backends: number;
  readonly flows: number; // established, a family
  readonly halfOpenFlows: number; // a family
  readonly sockets: number;
}

const frontendsPerService = 6; // cluster, load balancer and one more address, with their address rows; a NodePort
const setsPerService = 4; // of each list, the one it has and the one it has just left
const slotsPerBackend = 3; // in both lists, and in one that its service has just left
const rangesPerService = 8; // few have any, and those have some dozens
// A backend has 100 … 200 positions, but the ports of a Service share them; where this is too little after all, tables
// get smaller, not fewer.
const positionsPerBackend = 128;
const fewestPositionsPerBackend = 64;
const enoughPositions = 2 ** 25; // 64 MiB; more only where it would be fewer than that a backend
/** Counters are the only rows that cost memory on every CPU: those beyond are not counted. */
const statsBytes = 32 * 2 ** 20;
const fewestStats = 65_536;

export function mapSizes(
  limits: Limits,
  cpus = native().possibleCpus(),
): Readonly<Partial<Record<MapName, number>>> {
  const countable = Math.max(fewestStats, Math.floor(statsBytes / (cpus * slbStats.size)));
  const positions = Math.max(
    Math.min(limits.backends * positionsPerBackend, enoughPositions),
    limits.backends * fewestPositionsPerBackend,
  );
  return {
    slb_frontends: limits.services * frontendsPerService,
    slb_services: limits.services,
    slb_svc_stats: Math.min(limits.services, countable),
    slb_ranges: limits.services * rangesPerService,
    slb_sets: limits.services * setsPerService,
    slb_backends: limits.backends,
    slb_be_stats: Math.min(limits.backends, countable),
    slb_slots: limits.backends * slotsPerBackend,
    slb_maglev: Math.ceil(positions / slbLimits.MAGLEV_PER_ROW),
    slb_flows4: limits.flows,
    slb_flows6: limits.flows,
    slb_half4: limits.halfOpenFlows,
    slb_half6: limits.halfOpenFlows,
    slb_sockets: limits.sockets,
  };
}

/** Where nothing is pinned, tables begin with room for as much as a small cluster has: together some 3 MiB. */
const fewest = { services: 512, backends: 2_048 };

/** Those that the state of the cluster fills; all others have their size from the start. */
export function firstSizes(limits: Limits, cpus?: number): ReturnType<typeof mapSizes> {
  const services = Math.min(fewest.services, limits.services);
  const backends = Math.min(fewest.backends, limits.backends);
  const { slb_ranges = 0 } = mapSizes(limits, cpus); // a trie costs what is in it
  return { ...mapSizes({ ...limits, services, backends }, cpus), slb_ranges };
}

/** What an operator chooses them by. */
export const optionOf: Readonly<Partial<Record<string, string>>> = {
  slb_frontends: '--max-services',
  slb_services: '--max-services',
  slb_sets: '--max-services',
  slb_ranges: '--max-services',
  slb_backends: '--max-backends',
  slb_slots: '--max-backends',
  slb_maglev: '--max-backends',
  slb_flows4: '--max-flows',
  slb_flows6: '--max-flows',
  slb_half4: '--max-half-open-flows',
  slb_half6: '--max-half-open-flows',
  slb_svc_stats: '--max-services',
  slb_be_stats: '--max-backends',
  slb_sockets: '--max-sockets',
};

/** What gives the map more rows; empty where its size is fixed. */
export function remedyFor(map: string): string {
  const option = optionOf[map];
  return option === undefined ? '' : `: raise ${option}`;
}

export function describeShortage({ service, map, refusal }: Shortage): string {
  const subject = service === '' ? "this host's addresses and devices" : service;
  const reason = refusal ?? `${map} has no room${remedyFor(map)}`;
  return `${subject}: not programmed: ${reason}`;
}

export function describeUncounted(backends: number): string {
  return `${String(backends)} backends are served but not counted: counters have no room for more`;
}

export interface MapFill {
  readonly name: MapName;
  readonly used: number;
  readonly size: number;
  /** What it may grow to; its size where it does not grow. */
  readonly bound: number;
}

export const nearlyFull = 0.8;
/** In these the oldest give way. */
const mayBeFull = new Set<MapName>(['slb_half4', 'slb_half6', 'slb_affinity']);

export function isNearlyFull({ name, used, bound }: MapFill): boolean {
  return !mayBeFull.has(name) && used >= bound * nearlyFull;
}

export function describeFill({ name, used, bound }: MapFill): string {
  const percent = Math.floor((used * 100) / Math.max(1, bound));
  return `${name} is ${String(percent)} % full${remedyFor(name)}`;
}
