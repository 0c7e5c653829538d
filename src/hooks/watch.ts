// Pods come and go: a device is given its programs as soon as the kernel has told of it, and everything is looked at twice a
// minute even when the kernel said nothing (S-106).
import { native, type LinkMonitor, type NetworkChange } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import { publish } from '../observe/channels.ts';

const resyncMs = 30_000;
const retryMs = 1_000;
/** Changes of addresses and routes come in floods: they are answered for at most this part of the time. */
const share = 10;
const longestRestMs = 1_000;

export interface WatchTasks {
  /** What the kernel has said; `update` follows, at once or soon. */
  readonly note: (change: NetworkChange) => void;
  /** Looks at what may have changed. */
  readonly update: () => void;
  /** Looks at everything, whether it has changed or not. */
  readonly reconcile: () => void;
  /** In how many milliseconds an update is needed though nothing happens. */
  readonly dueIn?: () => number | undefined;
}

export class DeviceWatch {
  readonly #tasks: WatchTasks;
  #monitor: LinkMonitor | undefined;
  #resync: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;
  #restUntil = 0;
  #failed = '';
  /** One that failed: until another has not, no update takes its place. */
  #owed = false;

  /** The tasks are called on the loop, never two at once. What they throw is told, and they are tried again. */
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
    // A pod's first packet follows its device by microseconds: nothing waits here.
    if (change.links.length > 0) this.#run('update');
    else this.#later(this.#restUntil - performance.now());
  }

  #later(ms: number): void {
    this.#pending ??= setTimeout(() => this.#run('update'), Math.max(0, ms));
  }

  #run(wanted: 'update' | 'reconcile'): void {
    const task = this.#owed ? 'reconcile' : wanted;
    clearTimeout(this.#pending);
    this.#pending = undefined;
    const begun = performance.now();
    try {
      this.#tasks[task]();
      this.#failed = '';
      this.#owed = false;
    } catch (error) {
      this.#owed = true;
      this.#tell(error);
      if (this.#monitor !== undefined) this.#pending = setTimeout(() => this.#run('reconcile'), retryMs);
    }
    const ended = performance.now();
    this.#restUntil = ended + Math.min(longestRestMs, (ended - begun) * share);
    const due = this.#monitor === undefined ? undefined : this.#tasks.dueIn?.();
    if (due !== undefined) this.#later(Math.max(due, this.#restUntil - ended));
  }

  /** Once for as long as it is the same. */
  #tell(error: unknown): void {
    const message = messageOf(error);
    if (message !== this.#failed) publish('device.failed', { device: 'all', error });
    this.#failed = message;
  }
}
