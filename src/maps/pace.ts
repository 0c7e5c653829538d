// Runs long work in slices, and yields to the event loop in between.
import { setImmediate as nextTurn } from 'node:timers/promises';

const sliceMs = 8;

export interface Pace {
  /** True when the slice is over. */
  readonly due: boolean;
  /** Yields to the event loop, and begins the next slice. */
  rest(): Promise<void>;
}

export function startPace(): Pace {
  let begun = performance.now();
  return {
    get due() {
      return performance.now() - begun >= sliceMs;
    },
    rest: async () => {
      await nextTurn();
      begun = performance.now();
    },
  };
}
