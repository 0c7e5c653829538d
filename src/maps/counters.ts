// Counters of the data path, summed over CPUs. Numbers are doubles: exact up to 2^53 packets or bytes.
import type { BpfMap } from '../../native/index.ts';
import { counters, slbHook, slbStats, slbVerdict, verdicts, type SlbStatsRow } from '../abi/layout.gen.ts';
import { guarded, readPages, writeWord } from './bpfmap.ts';

export interface Counters {
  readonly connections: number; // of packets and of sockets
  readonly active: number; // open sockets
  readonly packetsIn: number; // client to backend; not those of sockets
  readonly bytesIn: number; // length of IP packets; payload of TCP sockets, added when they are closed
  readonly packetsOut: number;
  readonly bytesOut: number;
  readonly refused: number; // packets and connects that were rejected or dropped
}

export interface VerdictCount {
  readonly hook: string; // tc_in, tc_out, xdp, sock
  readonly verdict: string;
  readonly class: string;
  readonly packets: number; // of hook sock: system calls
}

/** Of slb_counters. */
export interface PacketCount {
  readonly name: string;
  readonly count: number;
}

export const noTraffic: Counters = {
  connections: 0,
  active: 0,
  packetsIn: 0,
  bytesIn: 0,
  packetsOut: 0,
  bytesOut: 0,
  refused: 0,
};

const wordOf = Object.fromEntries(slbStats.fields.map(({ name, offset }) => [name, offset / 8]));

/** The counters of one slot. */
export function readCounters(map: BpfMap, slot: number): Counters {
  const key = new Uint8Array(4);
  writeWord(key, 0, slot);
  const values = guarded(map, () => map.get(key));
  return values === undefined ? noTraffic : sumRow(new BigInt64Array(values.slice().buffer));
}

/** The counters of the first `slots` slots, read in one pass; undefined for a slot beyond the rows of the map. */
export function readAllCounters(map: BpfMap, slots: number): (slot: number) => Counters | undefined {
  const rows: Counters[] = [];
  for (const { values, count } of readPages(map)) {
    const words = new BigInt64Array(values.slice().buffer);
    const perRow = words.length / count;
    for (let i = 0; i < count && rows.length < slots; i++)
      rows.push(sumRow(words.subarray(i * perRow, (i + 1) * perRow)));
    if (rows.length >= slots) break;
  }
  return (slot) => rows[slot];
}

/** `words` holds one struct slb_stats for each possible CPU. */
function sumRow(words: BigInt64Array): Counters {
  const perCpu = slbStats.size / 8;
  const sum = (field: keyof SlbStatsRow): number => {
    let total = 0;
    for (let at = wordOf[field]!; at < words.length; at += perCpu) total += Number(words[at]);
    return total;
  };
  return {
    connections: sum('connections'),
    // Signed: a socket may be opened on one CPU and closed on another, which then has a negative count. CPUs are read
    // one after the other, so the sum may be negative for a moment too.
    active: Math.max(0, sum('sockets')),
    packetsIn: sum('packetsIn'),
    bytesIn: sum('bytesIn'),
    packetsOut: sum('packetsOut'),
    bytesOut: sum('bytesOut'),
    refused: sum('refused'),
  };
}

const hooks = Object.entries(slbHook)
  .filter(([name]) => name !== 'HOOK_MAX')
  .map(([name, number]) => ({ name: name.slice('HOOK_'.length).toLowerCase(), number }));

/** Every hook and verdict, also those with a count of 0. */
export function readVerdicts(map: BpfMap): readonly VerdictCount[] {
  const packets = readSums(map);
  return hooks.flatMap((hook) =>
    verdicts.map((verdict, number) => ({
      hook: hook.name,
      verdict: verdict.name,
      class: verdict.class,
      packets: packets[hook.number * slbVerdict.VERDICT_MAX + number] ?? 0,
    })),
  );
}

export function readPacketCounts(map: BpfMap): readonly PacketCount[] {
  const sums = readSums(map);
  return counters.map(({ name }, number) => ({ name, count: sums[number] ?? 0 }));
}

/** Rows of single counters, each summed over CPUs. */
function readSums(map: BpfMap): readonly number[] {
  const sums: number[] = [];
  for (const { values, count } of readPages(map)) {
    const words = new BigUint64Array(values.slice().buffer);
    const cpus = words.length / count;
    for (let i = 0; i < count; i++)
      sums.push(words.subarray(i * cpus, (i + 1) * cpus).reduce((sum, word) => sum + Number(word), 0));
  }
  return sums;
}
