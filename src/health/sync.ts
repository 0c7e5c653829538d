// Whether the proxy is healthy: no change has waited longer than a minute to be written to the kernel (S-95).

const maxWaitMs = 60_000; // twice kube-proxy's sync period of 30 s

export interface SyncHealth {
  /** A change waits to be written. The oldest counts: later ones do not move its time. */
  queued(): void;
  /** All changes are in the kernel. */
  synced(): void;
  readonly healthy: boolean;
  /** When all changes were last written; undefined before the first time. */
  readonly lastSynced: Date | undefined;
}

export function trackSync(now: () => Date): SyncHealth {
  let oldestQueued: number | undefined;
  let lastSynced: Date | undefined;
  return {
    queued: () => {
      oldestQueued ??= now().getTime();
    },
    synced: () => {
      oldestQueued = undefined;
      lastSynced = now();
    },
    get healthy() {
      // Before the first change is queued, which is when all objects are listed, the agent is starting, not stuck.
      if (oldestQueued === undefined) return true;
      return now().getTime() - oldestQueued <= maxWaitMs;
    },
    get lastSynced() {
      return lastSynced;
    },
  };
}
