// The latest errors of the log, for `sluice status`.
import { SluiceError, messageOf } from '../errors.ts';
import { listen, type FactName } from './channels.ts';

export interface RecentError {
  readonly at: Date;
  readonly code: string;
  readonly message: string;
}

const kept = 20;
const watched = [
  'agent.fault',
  'device.failed',
  'exempt.failed',
  'sync.failed',
  'server.failed',
  'sockets.failed',
] as const satisfies readonly FactName[];

export interface RecentErrors {
  /** Newest first. */
  list(): readonly RecentError[];
  stop(): void;
}

export function keepRecentErrors(now: () => Date): RecentErrors {
  const errors: RecentError[] = [];
  const stops = watched.map((name) =>
    listen(name, ({ error }) => {
      const code = error instanceof SluiceError ? error.code : name;
      errors.unshift({
        at: now(),
        code,
        message: error instanceof SluiceError ? error.detail : messageOf(error),
      });
      errors.length = Math.min(errors.length, kept);
    }),
  );
  return {
    list: () => errors,
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}
