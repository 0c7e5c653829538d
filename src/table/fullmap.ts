// A map whose content is always given as a whole: the wanted rows, the written ones, and the difference.
import type { Budget } from './budget.ts';

export interface FullMapOps<Row> {
  readonly put: readonly Row[];
  /** Rows to release from the budget after they are deleted. */
  readonly drop: readonly Row[];
  /** Rows for which there is no room; they stay wanted. */
  readonly unplaced: readonly Row[];
}

export interface FullMap<Row> {
  /** A row found in the kernel: wanted until the next want(). */
  adopt(row: Row): void;
  want(rows: readonly Row[]): void;
  /** Every row that was found or written. */
  rows(): Iterable<Row>;
  /** The difference since the last flush. */
  flush(): FullMapOps<Row>;
}

export function createFullMap<Row>(
  budget: Budget,
  keyOf: (row: Row) => string,
  same: (a: Row, b: Row) => boolean,
): FullMap<Row> {
  const present = new Map<string, Row>();
  let wanted = new Map<string, Row>();
  let changed = false;
  return {
    adopt(row) {
      budget.take(1);
      present.set(keyOf(row), row);
      wanted.set(keyOf(row), row);
    },
    want(rows) {
      wanted = new Map(rows.map((row) => [keyOf(row), row]));
      changed = true;
    },
    rows: () => present.values(),
    flush() {
      if (!changed) return nothing;
      const drop = [...present].filter(([key]) => !wanted.has(key)).map(([, row]) => row);
      for (const row of drop) present.delete(keyOf(row));
      const put: Row[] = [];
      const unplaced: Row[] = [];
      for (const [key, row] of wanted) {
        const old = present.get(key);
        if (old !== undefined && same(old, row)) continue;
        if (old === undefined && !budget.take(1)) {
          unplaced.push(row);
          continue;
        }
        present.set(key, row);
        put.push(row);
      }
      changed = unplaced.length > 0;
      return { put, drop, unplaced };
    },
  };
}

const nothing = { put: [], drop: [], unplaced: [] } as const;
