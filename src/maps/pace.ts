// Sharing the event loop: long work runs in slices, and lets all else run in between.
import { setImmediate as nextTurn } from 'node:timers/promises';

const sliceMs = 8;

export interface Pace {
  /** True when it is time to let others run. */
  readonly due: boolean;
  /** Lets others run, and begins the next slice. */
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
