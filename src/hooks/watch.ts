// Pods come and go: a device is given its programs within milliseconds of appearing, and everything is looked at twice a
// minute even when the kernel said nothing (S-106).
import { native, type LinkMonitor } from '../../native/index.ts';
import { publish } from '../observe/channels.ts';

const resyncMs = 30_000;
/** A pod's start is a burst of messages, a routing daemon's a flood: the first is answered at once, the rest together. */
const quietMs = 20;
const retryMs = 1_000;

export class DeviceWatch {
  readonly #reconcile: () => void;
  #monitor: LinkMonitor | undefined;
  #resync: NodeJS.Timeout | undefined;
  #pending: NodeJS.Timeout | undefined;
  #quietUntil = 0;

  /** `reconcile` is called now and then on the loop, never twice at once. What it throws is told and tried again. */
  constructor(reconcile: () => void) {
    this.#reconcile = reconcile;
  }

  /** Reconciles at once, and from then on whenever something may have changed. */
  start(): void {
    this.#monitor = native().monitorLinks(() => this.#soon());
    this.#resync = setInterval(() => this.#run(), resyncMs);
    this.#run();
  }

  stop(): void {
    this.#monitor?.close();
    clearInterval(this.#resync);
    clearTimeout(this.#pending);
    this.#monitor = this.#resync = this.#pending = undefined;
  }

  #soon(): void {
    const wait = Math.max(0, this.#quietUntil - performance.now());
    this.#pending ??= setTimeout(() => this.#run(), wait);
  }

  #run(): void {
    clearTimeout(this.#pending);
    this.#pending = undefined;
    try {
      this.#reconcile();
    } catch (error) {
      publish('device.failed', { device: 'all', error });
      if (this.#monitor !== undefined) this.#pending = setTimeout(() => this.#run(), retryMs);
    }
    this.#quietUntil = performance.now() + quietMs;
  }
}
