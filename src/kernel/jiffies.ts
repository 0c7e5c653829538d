// Jiffies are the datapath's clock: their rate is compiled into the kernel and exposed nowhere, so it is measured.
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

export function openJiffies(native: Pick<Native, 'loadProgram'>): Jiffies {
  const program = native.loadProgram({ type: schedCls, name: 'slb_jiffies', instructions });
  const data = new Uint8Array(ethernetHeader);
  return { now: () => program.testRun({ data }).retval, close: () => program.close() };
}

interface Edge {
  readonly ticks: number;
  readonly at: bigint; // ns
  /** The tick is not older than that at `at`, and it is one. */
  readonly isSharp: boolean;
}

const sharpNs = 500_000n;
const attempts = 25;

function nextTick(jiffies: Jiffies): Edge {
  const before = jiffies.now();
  let ticks = before;
  let at = process.hrtime.bigint();
  let earlier = at;
  while (ticks === before) {
    earlier = at;
    ticks = jiffies.now();
    at = process.hrtime.bigint();
  }
  return { ticks, at, isSharp: at - earlier < sharpNs && (ticks - before) >>> 0 === 1 };
}

/** Waits for a tick, so that both ends of a measurement are tick edges; for another one when it was held up meanwhile. */
function nextEdge(jiffies: Jiffies): Edge {
  let edge = nextTick(jiffies);
  for (let attempt = 1; !edge.isSharp && attempt < attempts; attempt++) edge = nextTick(jiffies);
  return edge;
}

/** The rate that a measurement fits, undefined when it fits none well. */
export function snapRate(measured: number): number | undefined {
  return rates.find((rate) => Math.abs(measured / rate - 1) <= tolerance);
}

/**
 * Ticks a second. A busy machine can spoil a measurement in spite of that, even so that it looks like another rate: two in a
 * row, the second over twice the time, must agree.
 */
export async function measureHz(native: Pick<Native, 'loadProgram'>): Promise<number | undefined> {
  const jiffies = openJiffies(native);
  try {
    let previous: number | undefined;
    for (const windowMs of [40, 80, 160, 320, 640, 1280, 2560]) {
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
