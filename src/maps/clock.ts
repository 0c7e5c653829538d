// The clock of the flow tables: the low 32 bits of jiffies, as the data path reads them.

export interface Clock {
  readonly hz: number;
  now(): number;
}

const slackSec = 10; // an entry may have a later time stamp than a `now` that was read before it

/** Whole seconds from `then` to `now`, both in jiffies of 32 bits that may have wrapped in between. */
export function secondsBetween(clock: { readonly hz: number }, then: number, now: number): number {
  const ticks = (now - then) >>> 0;
  return ticks > 0xffffffff - slackSec * clock.hz ? 0 : Math.floor(ticks / clock.hz);
}
