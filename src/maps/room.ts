// Room in the kernel's tables: the state counts on the most that they may grow to, and before a transaction is written they do.
import { slbLimits, type MapName } from '../abi/layout.gen.ts';
import { publish } from '../observe/channels.ts';
import type { Capacity, TableState } from '../table/state.ts';
import { grownSizes, needsOf, shareToCome, type Growth, type Sizes } from './growth.ts';
import { capacityOf, type Tables } from './tables.ts';

const firstWaitMs = 60_000;
const longestWaitMs = 3_600_000;

export class Room {
  readonly #tables: Pick<Tables, 'capacity' | 'map'>;
  readonly #growth: Growth | undefined;
  readonly #stopping = new AbortController();
  #refused = false;
  #waitMs = firstWaitMs;
  #retryAt = 0;

  constructor(tables: Pick<Tables, 'capacity' | 'map'>, growth: Growth | undefined) {
    this.#tables = tables;
    this.#growth = growth;
  }

  /** What a state may hand out. */
  get capacity(): Capacity {
    const { bounds } = this;
    return capacityOf((name) => Math.max(bounds[name] ?? 0, this.#rowsOf(name)));
  }

  /** None, once the kernel has refused to give more than there is. */
  get bounds(): Sizes {
    return this.#refused ? {} : (this.#growth?.bounds ?? {});
  }

  /** Before a transaction is written. false: the kernel does not give what the state counts on. */
  make(state: TableState, pending: number): Promise<boolean> | undefined {
    const growth = this.#growth;
    if (growth === undefined) return undefined;
    const shareOf = (): number => (pending === 0 ? 1 : shareToCome(state, pending));
    const sizes = grownSizes(needsOf(state), (name) => this.#rowsOf(name), this.bounds, shareOf);
    return sizes === undefined ? undefined : this.#grow(growth, sizes);
  }

  /** After a refusal, from time to time: memory that was short may not be any more. */
  get isDue(): boolean {
    return this.#refused && performance.now() >= this.#retryAt;
  }

  forgive(): void {
    this.#refused = false;
  }

  /** In the units of the pool that counts what is used, without what it never hands out. */
  sizeOf(name: MapName, capacity: number): { size: number; bound: number } {
    const rows = this.#rowsOf(name);
    const bound = Math.max(this.bounds[name] ?? 0, rows);
    const unit = name === 'slb_maglev' ? slbLimits.MAGLEV_PER_ROW : 1;
    return { size: capacity - (bound - rows) * unit, bound: capacity };
  }

  /** What grows just now is given up. */
  stop(): void {
    this.#stopping.abort();
  }

  async #grow({ grow }: Growth, sizes: Sizes): Promise<boolean> {
    const rows = Object.entries(sizes).map(([map, to]) => ({ map, from: this.#rowsOf(map as MapName), to }));
    const begun = performance.now();
    publish('tables.growing', { tables: rows });
    try {
      await grow(sizes, this.#stopping.signal);
    } catch (error) {
      if (this.#stopping.signal.aborted) return false;
      this.#refused = true;
      this.#retryAt = performance.now() + this.#waitMs;
      this.#waitMs = Math.min(this.#waitMs * 2, longestWaitMs);
      publish('tables.refused', { error });
      return false;
    }
    this.#waitMs = firstWaitMs;
    publish('tables.grown', { tables: rows, tookMs: Math.round(performance.now() - begun) });
    return true;
  }

  #rowsOf(name: MapName): number {
    return this.#tables.map(name).info.maxEntries;
  }
}
