// How many rows a map still takes, where it does not matter which ones.

export interface Budget {
  readonly capacity: number;
  readonly used: number;
  /** All of them or none. */
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
