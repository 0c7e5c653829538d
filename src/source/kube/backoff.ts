// The wait after a failure. There is none after a watch that ended normally.

const firstMs = 500;
const maxMs = 30_000; // as in client-go: agents reconnect soon after the server is back

export interface Backoff {
  readonly failures: number;
}

export const noFailure: Backoff = { failures: 0 };

/**
 * The wait after one more failure, in milliseconds: it doubles, with jitter from half to all of it, so that the agents
 * of a cluster do not reconnect in step. Retry-After of the server is the minimum, with jitter of its own. `random` is
 * in [0, 1).
 */
export function failed(
  backoff: Backoff,
  random: number,
  retryAfterMs = 0,
): { readonly backoff: Backoff; readonly waitMs: number } {
  const ceiling = Math.min(maxMs, firstMs * 2 ** Math.min(backoff.failures, 16));
  const waitMs = Math.max(ceiling * (0.5 + random / 2), retryAfterMs * (1 + random / 4));
  return { backoff: { failures: backoff.failures + 1 }, waitMs };
}
