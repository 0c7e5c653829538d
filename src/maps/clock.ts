// The clock of the flow tables: jiffies, low 32 bits, as the datapath reads them.

export interface Clock {
  readonly hz: number;
  now(): number;
}

const slackSec = 10; // an entry may carry a later tick than the one read just before it

/** Whole seconds from `then` to `now`, across the wrap of 32 bits. */
export function secondsBetween(clock: { readonly hz: number }, then: number, now: number): number {
  const ticks = (now - then) >>> 0;
  return ticks > 0xffffffff - slackSec * clock.hz ? 0 : Math.floor(ticks / clock.hz);
}
