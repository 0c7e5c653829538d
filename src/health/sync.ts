// Is the proxy healthy? Judged by what waits to be written, not by how often there is something to write (S-95).

const patienceMs = 60_000; // 2 × the reference's sync period of 30 s

export interface SyncHealth {
  /** An update waits. The oldest one counts: later ones do not move the time. */
  queued(): void;
  /** Everything queued is in the kernel. */
  synced(): void;
  readonly healthy: boolean;
  /** Of the latest success; undefined before the first. */
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
      // A fresh node must not be restarted for being fresh: its time begins when everything is listed and waits.
      if (oldestQueued === undefined) return true;
      return now().getTime() - oldestQueued <= patienceMs;
    },
    get lastSynced() {
      return lastSynced;
    },
  };
}
