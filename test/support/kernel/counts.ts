// What the programs have counted, over all CPUs.
import type { BpfMap } from '../../../native/index.ts';
import { decode } from '../../../src/abi/codec.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { VerdictName } from '../../../src/abi/layout.gen.ts';
import { u32 } from './rows.ts';

const noStats: abi.SlbStatsRow = {
  connections: 0n,
  packetsIn: 0n,
  bytesIn: 0n,
  packetsOut: 0n,
  bytesOut: 0n,
  refused: 0n,
  sockets: 0n,
};

export function sumWords(bytes: Uint8Array): bigint {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
  return words.reduce((sum, word) => sum + word, 0n);
}

/** By number of the verdict; `hook` is one of enum slb_hook. */
export function verdictCounts(map: BpfMap, hook: number): bigint[] {
  const { values, count } = map.readBatch(undefined, abi.maps.slb_verdicts.maxEntries);
  const size = values.length / count; // of a row: 8 bytes a CPU
  return Array.from({ length: abi.slbVerdict.VERDICT_COUNT }, (_, verdict) => {
    const row = hook * abi.slbVerdict.VERDICT_MAX + verdict;
    return sumWords(values.subarray(row * size, (row + 1) * size));
  });
}

/** What was counted in between, each as often as it was. */
export function verdictsBetween(before: readonly bigint[], after: readonly bigint[]): VerdictName[] {
  return abi.verdicts.flatMap(({ name }, i) =>
    Array<VerdictName>(Number((after[i] ?? 0n) - (before[i] ?? 0n))).fill(name),
  );
}

/** Of a service or a backend. */
export function statsOf(map: BpfMap, id: number): abi.SlbStatsRow {
  const bytes = map.get(u32(id & abi.slbLimits.SLOT_MASK)) ?? new Uint8Array(0);
  const total = { ...noStats };
  for (let at = 0; at < bytes.length; at += abi.slbStats.size) {
    const row = decode(abi.slbStats, bytes, at);
    for (const key of Object.keys(total) as (keyof typeof total)[])
      total[key] = BigInt.asUintN(64, total[key] + row[key]);
  }
  return total;
}
