// Garbage collection: deletes expired flow entries, and counts rows that programs write. It frees memory only: the data
// path checks at look-up whether an entry has expired. Entries are deleted `sweepGraceSec` after that.
import type { BpfMap } from '../../native/index.ts';
import { slbFlow, slbFlowFlags, slbFlowKey4, slbFlowKey6, type MapName } from '../abi/layout.gen.ts';
import { guarded, readPages, type Page } from './bpfmap.ts';
import { secondsBetween, type Clock } from './clock.ts';
import { flowLifeSec, type Lifetimes } from './flowlife.ts';
import { flowTables } from './flowrows.ts';
import { startPace } from './pace.ts';

/**
 * Seconds between the end of a flow and the deletion of its row. The kernel reuses the memory of a deleted row for
 * another key at once, and a program that has looked the row up may still write to it: none runs for that long.
 */
export const sweepGraceSec = 10;

export interface TableCount {
  readonly map: (typeof flowTables)[number];
  readonly family: 'IPv4' | 'IPv6';
  readonly table: 'established' | 'half-open';
  readonly entries: number; // a connection has two: there and back
  readonly connections: number;
}

/** Maps whose rows are counted only. */
export const countedMaps = ['slb_sockets', 'slb_exempt'] as const satisfies readonly MapName[];

export interface RowCount {
  readonly map: (typeof countedMaps)[number];
  readonly entries: number;
}

export interface SweepResult {
  readonly counts: readonly TableCount[];
  readonly rows: readonly RowCount[];
  readonly freed: number;
  readonly cpuMs: number;
}

const offsetsOf = (fields: readonly { name: string; offset: number }[]): Readonly<Record<string, number>> =>
  Object.fromEntries(fields.map(({ name, offset }) => [name, offset]));
const at = offsetsOf(slbFlow.fields);
const proto4 = offsetsOf(slbFlowKey4.fields)['proto']!;
const proto6 = offsetsOf(slbFlowKey6.fields)['proto']!;
const protoAt = { slb_flows4: proto4, slb_half4: proto4, slb_flows6: proto6, slb_half6: proto6 };
const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export interface SweepOptions {
  readonly map: (name: MapName) => BpfMap;
  readonly clock: Clock;
  readonly lifetimes: Lifetimes;
  readonly stopped: () => boolean;
}

export async function sweep(options: SweepOptions): Promise<SweepResult> {
  const counts: TableCount[] = [];
  const rows: RowCount[] = [];
  let freed = 0;
  let cpuMs = 0;
  for (const name of flowTables) {
    const result = await sweepTable(options, name);
    counts.push(result.count);
    freed += result.freed;
    cpuMs += result.cpuMs;
  }
  for (const map of countedMaps) {
    let entries = 0;
    cpuMs += await eachPage(options, map, ({ count }) => (entries += count));
    rows.push({ map, entries });
  }
  return { counts, rows, freed, cpuMs };
}

async function sweepTable(
  options: SweepOptions,
  name: (typeof flowTables)[number],
): Promise<{ count: TableCount; freed: number; cpuMs: number }> {
  const map = options.map(name);
  let entries = 0;
  let connections = 0;
  let freed = 0;
  const cpuMs = await eachPage(options, name, ({ keys, values, count }) => {
    const view = new DataView(values.buffer, values.byteOffset, values.length);
    const now = options.clock.now();
    for (let i = 0; i < count; i++) {
      const row = i * slbFlow.size;
      const over = overSec(options, now, view, row, keys[i * map.info.keySize + protoAt[name]]!);
      if (over > sweepGraceSec && free(options, map, keys, i, protoAt[name])) freed++;
      else entries++;
      if (over < 0 && (view.getUint8(row + at['flags']!) & slbFlowFlags.FLOW_REPLY) === 0) connections++;
    }
  });
  const family = name.endsWith('4') ? 'IPv4' : 'IPv6';
  const table = name.startsWith('slb_half') ? 'half-open' : 'established';
  return { count: { map: name, family, table, entries, connections }, freed, cpuMs };
}

/** Yields to the event loop in between; returns the milliseconds of its own work. */
async function eachPage(
  { map, stopped }: SweepOptions,
  name: MapName,
  visit: (page: Page) => void,
): Promise<number> {
  const pace = startPace();
  let cpuMs = 0;
  let from = performance.now();
  for (const page of readPages(map(name))) {
    visit(page);
    if (stopped()) break;
    if (!pace.due) continue;
    cpuMs += performance.now() - from;
    await pace.rest();
    from = performance.now();
  }
  return cpuMs + performance.now() - from;
}

/** Seconds since the flow expired, rounded down by up to one; negative before that. */
function overSec(
  { clock, lifetimes }: SweepOptions,
  now: number,
  view: DataView,
  row: number,
  proto: number,
): number {
  const byte = (field: string): number => view.getUint8(row + at[field]!);
  const idle = secondsBetween(clock, view.getUint32(row + at['seen']!, little), now);
  if (byte('dead') !== 0) return idle; // an upper bound of its end: dead entries get no time stamps
  const state = { flags: byte('flags'), fin: byte('fin'), peerFin: byte('peerFin'), rst: byte('rst') };
  return idle - 1 - flowLifeSec(lifetimes, proto, state);
}

/**
 * Reads the entry again before it deletes it: a packet may have renewed or replaced it since the page was read. A race
 * of one or two microseconds is left; a TCP connection that loses its entry finds the same backend by its hash.
 */
function free(
  options: SweepOptions,
  map: BpfMap,
  keys: Uint8Array,
  index: number,
  protoOffset: number,
): boolean {
  const key = keys.slice(index * map.info.keySize, (index + 1) * map.info.keySize);
  return guarded(map, () => {
    const value = map.get(key);
    if (value === undefined) return true;
    const view = new DataView(value.buffer, value.byteOffset, value.length);
    const over = overSec(options, options.clock.now(), view, 0, key[protoOffset]!);
    return over > sweepGraceSec && map.delete(key);
  });
}
