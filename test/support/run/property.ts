// Property tests, each from two seeds: one that every run has, so that what held yesterday holds today, and one that
// no run had before. A failure names its seed; SLUICE_SEED=n tries that one alone.
import fc from 'fast-check';
import type { Test } from 'tap';

const fixed = 1;
const asked = process.env['SLUICE_SEED'];

export const seeds: readonly number[] = asked === undefined ? [fixed, fresh()] : [Number(asked)];

function fresh(): number {
  return Math.floor(Math.random() * 0x7fff_ffff);
}

/** Fails the test, with a counter-example, when the property does not hold. */
export function holds<T>(t: Test, property: fc.IProperty<T>, parameters: fc.Parameters<T> = {}): void {
  for (const seed of seeds) {
    const found = fc.check(property, { ...parameters, seed });
    if (found instanceof Promise) throw new TypeError('the property is asynchronous');
    t.ok(
      !found.failed,
      fc.defaultReportMessage(found) ?? `seed ${String(seed)}: ${String(found.numRuns)} runs`,
    );
  }
}
