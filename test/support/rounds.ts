// One round of the table room, from the plan to rows in a kernel in memory.
import type { Capacity, Ledger } from '../../src/table/ledger.ts';
import { closeRound, openRound, settleRound, type Round } from '../../src/table/round.ts';
import { countOps, type Ops } from '../../src/table/rows.ts';
import { releaseSet } from '../../src/table/take.ts';
import type { FakeKernel } from './kernelrows.ts';

/** Small, and more than enough. */
export const capacity: Capacity = {
  frontends: 64,
  services: 32,
  backends: 128,
  sets: 64,
  slots: 512,
  maglev: 1 << 16,
  ranges: 64,
  devices: 8,
};

export interface Programmed {
  readonly rows: number; // written
  readonly round: Round;
}

/** Plans, applies and settles in one go; the grace period is over at once. */
export function program(ledger: Ledger, kernel: FakeKernel, plan: (round: Round) => void): Programmed {
  const { round, ops } = close(ledger, plan);
  kernel.apply(ops);
  settleRound(ledger, round);
  for (const set of round.retired) releaseSet(ledger, set);
  return { rows: countOps(ops), round };
}

/** The agent dies when so many phases are in the kernel. */
export function die(ledger: Ledger, kernel: FakeKernel, plan: (round: Round) => void, phases: number): void {
  kernel.apply(close(ledger, plan).ops, phases);
}

function close(ledger: Ledger, plan: (round: Round) => void): { round: Round; ops: Ops } {
  const round = openRound();
  plan(round);
  return { round, ops: closeRound(ledger, round) };
}
