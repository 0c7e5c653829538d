// Time and random numbers for the reflector, so that tests need not wait.
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Monotonic, in milliseconds. */
  now(): number;
  /** From 0 up to but not including 1. */
  random(): number;
  /** Returns early, without an error, when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls once, unless the returned function is called before. */
  after(ms: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  random: () => Math.random(),
  sleep: async (ms, signal) => {
    await delay(ms, undefined, { signal }).catch(() => undefined);
  },
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
