import { readContract } from '../conformance.ts';

/** Every item of the Service contract has a row, and every one that is said to be met has a test that names it. */
export function contract(): readonly string[] {
  return readContract().problems;
}
