// Network programming latency (S-101): from the moment a pod changed, as its EndpointSlice says, to the moment packets meet
// the change on this node.
import { publish } from './channels.ts';

export interface SliceChange {
  readonly slice: string; // namespace/name
  readonly service: string; // namespace/name
  readonly family: 4 | 6;
  /** Of the change that the slice tells of, in milliseconds since the epoch; undefined when it does not say. */
  readonly triggeredAt: number | undefined;
}

interface Pending {
  readonly family: 4 | 6;
  readonly triggeredAt: number;
}

export class ProgrammingLatency {
  readonly #now: () => number;
  /** What was triggered before we started to look was not programmed late by us. */
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
    // A slice that is written again for another reason, such as a label, keeps the time of its last change.
    if (triggeredAt === undefined || triggeredAt === known?.triggeredAt) return;
    if (triggeredAt <= this.#startedAt) return;
    const pending = this.#pending.get(service);
    if (pending === undefined) this.#pending.set(service, [{ family, triggeredAt }]);
    else pending.push({ family, triggeredAt });
  }

  /** What a deleted slice said last is not when it was deleted: nothing is known of this change of the service. */
  removed(slice: string): void {
    const known = this.#slices.get(slice);
    if (known === undefined) return;
    this.#slices.delete(slice);
    this.#pending.delete(known.service);
  }

  /** These services are in the kernel as they were last said to be. */
  written(services: ReadonlySet<string>): void {
    const now = this.#now();
    for (const [service, pending] of this.#pending) {
      if (!services.has(service)) continue;
      this.#pending.delete(service);
      // A control plane whose clock is ahead of ours has not changed the pod in the future.
      for (const { family, triggeredAt } of pending)
        publish('endpoints.programmed', { service, family, tookMs: Math.max(0, now - triggeredAt) });
    }
  }
}
