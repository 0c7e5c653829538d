// Sizes of the maps, in rows, from the --max-* options, and texts for maps that are full.
import { native } from '../../native/index.ts';
import { slbLimits, slbStats, type MapName } from '../abi/layout.gen.ts';
import type { Shortage } from '../table/transaction.ts';

export interface Limits {
  readonly services: number; // service ports
  readonly backends: number;
  readonly flows: number; // established, per family
  readonly halfOpenFlows: number; // per family
  readonly sockets: number;
}

const frontendsPerService = 6; // three addresses with their address rows, and a NodePort, less what ports share
const setsPerService = 4; // the current and the retired one of each list
const slotsPerBackend = 3; // in both lists, and in a retired one
const rangesPerService = 8; // few Services have any, and those have some dozens
// A backend has 100 … 200 positions, but ports of a Service share tables. If that is too little, new tables are
// smaller.
const positionsPerBackend = 128;
const fewestPositionsPerBackend = 64;
const enoughPositions = 2 ** 25; // 64 MiB; more only where it would be fewer than that a backend
/** Counters need memory on every CPU, so there are fewer of them: backends beyond are not counted. */
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

/** First sizes where nothing is pinned, enough for a small cluster: some 3 MiB in all. */
const fewest = { services: 512, backends: 2_048 };

/** First sizes of the maps that grow; the other maps have their final size. */
export function firstSizes(limits: Limits, cpus?: number): ReturnType<typeof mapSizes> {
  const services = Math.min(fewest.services, limits.services);
  const backends = Math.min(fewest.backends, limits.backends);
  const { slb_ranges = 0 } = mapSizes(limits, cpus); // a trie costs what is in it
  return { ...mapSizes({ ...limits, services, backends }, cpus), slb_ranges };
}

/** The option that sets the maximum size of each map. */
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

/** ": raise --max-…"; "" for maps of a fixed size. */
export function remedyFor(map: string): string {
  const option = optionOf[map];
  return option === undefined ? '' : `: raise ${option}`;
}

export function describeShortage({ service, map, refusal }: Shortage): string {
  const subject = service === '' ? "this host's addresses and devices" : service;
  const reason = refusal ?? `${map} is full${remedyFor(map)}`;
  return `${subject}: not programmed: ${reason}`;
}

export function describeUncounted(backends: number): string {
  return `${String(backends)} backends are served but not counted: the maps of counters are full`;
}

export interface MapFill {
  readonly name: MapName;
  readonly used: number;
  readonly size: number;
  /** Maximum size; the same as `size` for maps that do not grow. */
  readonly bound: number;
}

export const nearlyFull = 0.8;
/** LRU maps, which are full in normal operation. */
const mayBeFull = new Set<MapName>(['slb_half4', 'slb_half6', 'slb_affinity']);

export function isNearlyFull({ name, used, bound }: MapFill): boolean {
  return !mayBeFull.has(name) && used >= bound * nearlyFull;
}

export function describeFill({ name, used, bound }: MapFill): string {
  const percent = Math.floor((used * 100) / Math.max(1, bound));
  return `${name} is ${String(percent)} % full${remedyFor(name)}`;
}
