// Counts the rows in use of a map whose rows have no index.

export interface Budget {
  readonly capacity: number;
  readonly used: number;
  /** Takes all of them or none. */
  take(rows: number): boolean;
  release(rows: number): void;
}

export function createBudget(capacity: number): Budget {
  let used = 0;
  return {
    capacity,
    get used() {
      return used;
    },
    take(rows) {
      if (used + rows > capacity) return false;
      used += rows;
      return true;
    },
    release: (rows) => {
      used -= rows;
    },
  };
}
