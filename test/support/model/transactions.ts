// One transaction of the table room, from the plan to rows in a kernel, in memory or not.
import type { Capacity, TableState } from '../../../src/table/state.ts';
import {
  closeTransaction,
  openTransaction,
  commit,
  type Transaction,
} from '../../../src/table/transaction.ts';
import { countOps, type Ops } from '../../../src/table/rows.ts';
import { releaseSet } from '../../../src/table/allocation.ts';
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
  readonly transaction: Transaction;
}

/** Plans, applies and commits in one go; the grace period is over at once. */
export function program(
  state: TableState,
  kernel: { apply(ops: Ops): unknown },
  plan: (transaction: Transaction) => void,
): Programmed {
  const { transaction, ops } = close(state, plan);
  kernel.apply(ops);
  commit(state, transaction);
  for (const set of transaction.retired) releaseSet(state, set);
  return { rows: countOps(ops), transaction };
}

/** The agent dies when so many phases are in the kernel. */
export function die(
  state: TableState,
  kernel: FakeKernel,
  plan: (transaction: Transaction) => void,
  phases: number,
): void {
  kernel.apply(close(state, plan).ops, phases);
}

function close(
  state: TableState,
  plan: (transaction: Transaction) => void,
): { transaction: Transaction; ops: Ops } {
  const transaction = openTransaction();
  plan(transaction);
  return { transaction, ops: closeTransaction(state, transaction) };
}
