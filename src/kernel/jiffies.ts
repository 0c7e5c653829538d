// Jiffies are the clock of the data path. Their rate (CONFIG_HZ) is not exposed by the kernel, so it is measured.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Native } from '../../native/index.ts';

const schedCls = 3; // BPF_PROG_TYPE_SCHED_CLS
const ethernetHeader = 14; // the minimum size of a test run
// call bpf_jiffies64 (helper 118); exit
const instructions = Uint8Array.of(0x85, 0, 0, 0, 118, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
/** The choices of CONFIG_HZ. */
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
  /** Exactly one tick, at most `sharpNs` before `at`. */
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

/**
 * Waits for a tick, so that both ends of a measurement are at ticks; again if the process was interrupted meanwhile.
 */
function nextEdge(jiffies: Jiffies): Edge {
  let edge = nextTick(jiffies);
  for (let attempt = 1; !edge.isSharp && attempt < attempts; attempt++) edge = nextTick(jiffies);
  return edge;
}

/** The known rate next to a measured one; undefined when none is close. */
export function snapRate(measured: number): number | undefined {
  return rates.find((rate) => Math.abs(measured / rate - 1) <= tolerance);
}

/**
 * Ticks per second; undefined when it could not be measured. On a busy machine one measurement may be wrong, so two in
 * a row, the second of twice the length, must agree.
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
