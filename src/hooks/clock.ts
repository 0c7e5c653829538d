// Jiffies are the datapath's clock: their rate is compiled into the kernel and told to nobody, so it is measured.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Native } from '../../native/index.ts';

const schedCls = 3; // BPF_PROG_TYPE_SCHED_CLS
const ethernetHeader = 14; // the least that a test run takes
// call bpf_jiffies64 (helper 118); exit
const instructions = Uint8Array.of(0x85, 0, 0, 0, 118, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
/** The rates a kernel can be built with. */
const rates = [100, 250, 300, 1000] as const;
const tolerance = 0.06; // 250 and 300 are 18 % apart

/** Low 32 bits of the kernel's jiffies, now. */
export interface Jiffies {
  now(): number;
  close(): void;
}

export function openJiffies(native: Native): Jiffies {
  const program = native.loadProgram({ type: schedCls, name: 'slb_jiffies', instructions });
  const data = new Uint8Array(ethernetHeader);
  return { now: () => program.testRun({ data }).retval, close: () => program.close() };
}

/** Waits for the next tick, so that both ends of the measurement are tick edges. */
function nextEdge(jiffies: Jiffies): { ticks: number; at: bigint } {
  const before = jiffies.now();
  let ticks = before;
  while (ticks === before) ticks = jiffies.now();
  return { ticks, at: process.hrtime.bigint() };
}

/** The rate that a measurement fits, undefined when it fits none well. */
export function snapRate(measured: number): number | undefined {
  return rates.find((rate) => Math.abs(measured / rate - 1) <= tolerance);
}

/**
 * Ticks a second. A busy machine can spoil a measurement by holding the process up at an edge, even so that it looks like
 * another rate: two in a row, the second over twice the time, must agree.
 */
export async function measureHz(native: Native): Promise<number | undefined> {
  const jiffies = openJiffies(native);
  try {
    let previous: number | undefined;
    for (const windowMs of [40, 80, 160, 320, 640]) {
      const from = nextEdge(jiffies);
      await sleep(windowMs);
      const to = nextEdge(jiffies);
      const seconds = Number(to.at - from.at) / 1e9;
      const rate = snapRate(((to.ticks - from.ticks) >>> 0) / seconds);
      if (rate !== undefined && rate === previous) return rate;
      previous = rate;
    }
    return undefined;
  } finally {
    jiffies.close();
  }
}
