// Network programming latency (S-101): the time from the change of a pod, as its EndpointSlice has it, to the moment
// packets on this node meet the change.
import { publish } from './channels.ts';

export interface SliceChange {
  readonly slice: string; // namespace/name
  readonly service: string; // namespace/name
  readonly family: 4 | 6;
  /**
   * endpoints.kubernetes.io/last-change-trigger-time, in milliseconds since the epoch; undefined without that
   * annotation.
   */
  readonly triggeredAt: number | undefined;
}

interface Pending {
  readonly family: 4 | 6;
  readonly triggeredAt: number;
}

export class ProgrammingLatency {
  readonly #now: () => number;
  /** Changes of before the start do not count: no agent was there to program them. */
  readonly #startedAt: number;
  readonly #slices = new Map<string, SliceChange>();
  readonly #pending = new Map<string, Pending[]>();

  constructor(now: () => number) {
    this.#now = now;
    this.#startedAt = now();
  }

  changed(change: SliceChange): void {
    const { slice, service, family, triggeredAt } = change;
    const known = this.#slices.get(slice);
    if (known !== undefined && known.service !== service) this.#pending.delete(known.service);
    this.#slices.set(slice, change);
    // A slice that is written again for another reason, such as a label, keeps its trigger time.
    if (triggeredAt === undefined || triggeredAt === known?.triggeredAt) return;
    if (triggeredAt <= this.#startedAt) return;
    const pending = this.#pending.get(service);
    if (pending === undefined) this.#pending.set(service, [{ family, triggeredAt }]);
    else pending.push({ family, triggeredAt });
  }

  /** The trigger time of a deleted slice is not that of its deletion, so this change of the Service is not measured. */
  removed(slice: string): void {
    const known = this.#slices.get(slice);
    if (known === undefined) return;
    this.#slices.delete(slice);
    this.#pending.delete(known.service);
  }

  /** The latest state of these Services is in the kernel. */
  written(services: ReadonlySet<string>): void {
    const now = this.#now();
    for (const [service, pending] of this.#pending) {
      if (!services.has(service)) continue;
      this.#pending.delete(service);
      // The clock of the control plane may be ahead of this one.
      for (const { family, triggeredAt } of pending)
        publish('endpoints.programmed', { service, family, tookMs: Math.max(0, now - triggeredAt) });
    }
  }
}
