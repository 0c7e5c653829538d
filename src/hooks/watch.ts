// Attaches programs to a new device as soon as the kernel reports it, and checks all devices every 30 s (S-106).
import { native, type LinkMonitor, type NetworkChange } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import { publish } from '../observe/channels.ts';

const resyncMs = 30_000;
const retryMs = 1_000;
/** After an update, changes of addresses and routes wait for 10 times its duration: many may come at once. */
const restFactor = 10;
const longestRestMs = 1_000;

export interface WatchTasks {
  /** Takes a message of the kernel; `update` follows. */
  readonly note: (change: NetworkChange) => void;
  /** Handles what may have changed. */
  readonly update: () => void;
  /** Checks everything. */
  readonly reconcile: () => void;
  /** Milliseconds until an update is due without a change. */
  readonly dueIn?: () => number | undefined;
}

export class DeviceWatch {
  readonly #tasks: WatchTasks;
  #monitor: LinkMonitor | undefined;
  #resync: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;
  #restUntil = 0;
  #failed = '';
  /** The last task failed: `reconcile` runs in place of `update` until one succeeds. */
  #mustReconcile = false;

  /** The tasks are called on the event loop, one at a time. Their errors are published, and they are tried again. */
  constructor(tasks: WatchTasks) {
    this.#tasks = tasks;
  }

  /** Reconciles at once, and from then on whenever something may have changed. */
  start(): void {
    this.#monitor = native().monitorLinks((change) => this.#changed(change));
    this.#resync = setInterval(() => this.#run('reconcile'), resyncMs);
    this.#run('reconcile');
  }

  stop(): void {
    this.#monitor?.close();
    clearInterval(this.#resync);
    clearTimeout(this.#pending);
    this.#monitor = this.#resync = this.#pending = undefined;
  }

  #changed(change: NetworkChange): void {
    this.#tasks.note(change);
    // At once: the first packet of a pod may come microseconds after its device.
    if (change.links.length > 0) this.#run('update');
    else this.#later(this.#restUntil - performance.now());
  }

  #later(ms: number): void {
    this.#pending ??= setTimeout(() => this.#run('update'), Math.max(0, ms));
  }

  #run(wanted: 'update' | 'reconcile'): void {
    const task = this.#mustReconcile ? 'reconcile' : wanted;
    clearTimeout(this.#pending);
    this.#pending = undefined;
    const begun = performance.now();
    try {
      this.#tasks[task]();
      this.#failed = '';
      this.#mustReconcile = false;
    } catch (error) {
      this.#mustReconcile = true;
      this.#tell(error);
      if (this.#monitor !== undefined) this.#pending = setTimeout(() => this.#run('reconcile'), retryMs);
    }
    const ended = performance.now();
    this.#restUntil = ended + Math.min(longestRestMs, (ended - begun) * restFactor);
    const due = this.#monitor === undefined ? undefined : this.#tasks.dueIn?.();
    if (due !== undefined) this.#later(Math.max(due, this.#restUntil - ended));
  }

  /** Publishes an error once, until another one comes. */
  #tell(error: unknown): void {
    const message = messageOf(error);
    if (message !== this.#failed) publish('device.failed', { device: 'all', error });
    this.#failed = message;
  }
}
