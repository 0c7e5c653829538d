// Grows the maps before a transaction needs the rows. The state plans with the maximum sizes; the maps follow.
import { slbLimits, type MapName } from '../abi/layout.gen.ts';
import { publish } from '../observe/channels.ts';
import type { Capacity, TableState } from '../table/state.ts';
import { grownSizes, needsOf, expectedFactor, type Growth, type Sizes } from './growth.ts';
import { capacityOf, type Tables } from './tables.ts';

const firstWaitMs = 60_000;
const longestWaitMs = 3_600_000;

export class MapSizer {
  readonly #tables: Pick<Tables, 'capacity' | 'map'>;
  readonly #growth: Growth | undefined;
  readonly #stopping = new AbortController();
  #growing = false;
  #refused = false;
  #waitMs = firstWaitMs;
  #retryAt = 0;

  constructor(tables: Pick<Tables, 'capacity' | 'map'>, growth: Growth | undefined) {
    this.#tables = tables;
    this.#growth = growth;
  }

  /** The rows that a state may use. */
  get capacity(): Capacity {
    const { bounds } = this;
    return capacityOf((name) => Math.max(bounds[name] ?? 0, this.#rowsOf(name)));
  }

  /** Maximum sizes; none after the kernel has refused to allocate more. */
  get bounds(): Sizes {
    return this.#refused ? {} : (this.#growth?.bounds ?? {});
  }

  /** Called before a transaction is written. undefined: no map has to grow; false: the kernel refused. */
  growFor(state: TableState, pending: number): Promise<boolean> | undefined {
    const growth = this.#growth;
    if (growth === undefined) return undefined;
    const factorOf = (): number => (pending === 0 ? 1 : expectedFactor(state, pending));
    const sizes = grownSizes(needsOf(state), (name) => this.#rowsOf(name), this.bounds, factorOf);
    return sizes === undefined ? undefined : this.#grow(growth, sizes);
  }

  /** After a refusal: whether it is time to try again. */
  get isRetryDue(): boolean {
    return this.#refused && performance.now() >= this.#retryAt;
  }

  /** Allows growth again after a refusal. */
  retry(): void {
    this.#refused = false;
  }

  /** Size and maximum in the units of the pool (positions of slb_maglev), without rows that it never uses. */
  sizeOf(name: MapName, capacity: number): { size: number; bound: number } {
    const rows = this.#rowsOf(name);
    const bound = Math.max(this.bounds[name] ?? 0, rows);
    const unit = name === 'slb_maglev' ? slbLimits.MAGLEV_PER_ROW : 1;
    return { size: capacity - (bound - rows) * unit, bound: capacity };
  }

  /** Whether larger maps are being made for a transaction that is planned and not yet written. */
  get growing(): boolean {
    return this.#growing;
  }

  /** Aborts a growth that is in progress. */
  stop(): void {
    this.#stopping.abort();
  }

  async #grow({ grow }: Growth, sizes: Sizes): Promise<boolean> {
    const rows = Object.entries(sizes).map(([map, to]) => ({ map, from: this.#rowsOf(map as MapName), to }));
    const begun = performance.now();
    publish('tables.growing', { tables: rows });
    this.#growing = true;
    try {
      await grow(sizes, this.#stopping.signal);
    } catch (error) {
      if (this.#stopping.signal.aborted) return false;
      this.#refused = true;
      this.#retryAt = performance.now() + this.#waitMs;
      this.#waitMs = Math.min(this.#waitMs * 2, longestWaitMs);
      publish('tables.refused', { error });
      return false;
    } finally {
      this.#growing = false;
    }
    this.#waitMs = firstWaitMs;
    publish('tables.grown', { tables: rows, tookMs: Math.round(performance.now() - begun) });
    return true;
  }

  #rowsOf(name: MapName): number {
    return this.#tables.map(name).info.maxEntries;
  }
}
