// One of two threads that run a program on the same packets at the same moment, a client's port further each round.
import { parentPort, workerData } from 'node:worker_threads';
import { native } from '../../../native/index.ts';

export interface RacerTask {
  readonly path: string; // of the pinned program
  readonly packet: Uint8Array; // TCP
  readonly context: Uint8Array | undefined;
  readonly rounds: number;
  readonly index: number;
  readonly steps: SharedArrayBuffer; // the round that each racer is in
  readonly moves?: 'source' | 'target'; // which port goes further; the source by default
  readonly spread?: number; // begins up to so many turns of an empty loop late, as many as any other in the long run
}

const { path, packet, context, rounds, index, steps, moves = 'source', spread = 1 } = workerData as RacerTask;
const program = native().openPinnedProgram(path);
const data = Uint8Array.from(packet);
const view = new DataView(data.buffer);
const sourceAt = (data[12] ?? 0) === 8 ? 34 : 54;
const portAt = moves === 'source' ? sourceAt : sourceAt + 2;
const counters = new Int32Array(steps);
const sources: number[] = [];

for (let round = 1; round <= rounds; round++) {
  view.setUint16(portAt, 1023 + round);
  Atomics.store(counters, index, round);
  while (Atomics.load(counters, 1 - index) < round);
  const late = Math.imul(round, 2_654_435_761) >>> 0;
  for (let turn = late % spread; turn > 0; turn--) Atomics.load(counters, index);
  const result = program.testRun({ data, ...(context === undefined ? {} : { context }) });
  const sent = result.retval === 7; // TC_ACT_REDIRECT
  sources.push(sent ? new DataView(result.data.buffer, result.data.byteOffset).getUint16(sourceAt) : 0);
}
program.close();
parentPort?.postMessage(sources);
