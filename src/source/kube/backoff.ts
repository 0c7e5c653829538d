// How long to wait after a failure. Only failures come here: after a quiet end there is no wait.

const firstMs = 500;
const maxMs = 30_000; // as client-go: every agent of a large cluster comes back at once when its server does

export interface Backoff {
  readonly failures: number;
}

export const noFailure: Backoff = { failures: 0 };

/**
 * The wait after one more failure: doubling, and between half and all of it by chance, so that the agents of a cluster
 * do not come back in step. What the server asked for (Retry-After) is the least, spread likewise.
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
