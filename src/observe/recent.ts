// The latest errors of the log, for `sluice status`.
import { SluiceError, messageOf } from '../errors.ts';
import { listen, type FactName } from './channels.ts';

export interface RecentError {
  readonly at: Date;
  readonly code: string;
  readonly message: string;
}

const maxErrors = 20;
const errorFacts = [
  'agent.fault',
  'device.failed',
  'exempt.failed',
  'sync.failed',
  'server.failed',
  'sockets.failed',
] as const satisfies readonly FactName[];

export interface RecentErrors {
  /** The last 20, newest first. */
  list(): readonly RecentError[];
  stop(): void;
}

/** Collects errors from now on, until stop(). A SluiceError has its own code, any other error the name of its fact. */
export function keepRecentErrors(now: () => Date): RecentErrors {
  const errors: RecentError[] = [];
  const stops = errorFacts.map((name) =>
    listen(name, ({ error }) => {
      const entry =
        error instanceof SluiceError
          ? { code: error.code, message: error.detail }
          : { code: name, message: messageOf(error) };
      errors.unshift({ at: now(), ...entry });
      errors.length = Math.min(errors.length, maxErrors);
    }),
  );
  return {
    list: () => errors,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
