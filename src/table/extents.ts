// Allocates ranges of consecutive rows of one array map: Maglev tables, slot lists, set rows.

export interface Extents {
  readonly capacity: number;
  readonly used: number;
  /** One more than the last row that is taken or reserved. */
  readonly end: number;
  /** First row of an allocated range; undefined when no free range is large enough. */
  take(size: number): number | undefined;
  /** Marks a range found in the kernel as taken; false when it is not free or out of bounds. */
  adopt(first: number, size: number): boolean;
  release(first: number, size: number): void;
}

interface Hole {
  first: number;
  size: number;
}

/**
 * First fit over the free ranges in order of their rows; adjacent ones are joined. The first `reserved` rows are never
 * allocated. Free ranges are few: there are few sizes, so a released range is soon allocated again as a whole.
 */
export function createExtents(rows: number, reserved = 0): Extents {
  const holes: Hole[] = [{ first: reserved, size: rows - reserved }];
  let used = 0;
  return {
    capacity: rows - reserved,
    get used() {
      return used;
    },
    get end() {
      const last = holes.at(-1);
      return last !== undefined && last.first + last.size === rows ? last.first : rows;
    },
    take(size) {
      const index = holes.findIndex((hole) => hole.size >= size);
      if (index < 0) return undefined;
      used += size;
      const { first } = holes[index]!;
      carve(holes, index, first, size);
      return first;
    },
    adopt(first, size) {
      const index = findHole(holes, first) - 1;
      const hole = holes[index];
      if (hole === undefined || first + size > hole.first + hole.size) return false;
      used += size;
      carve(holes, index, first, size);
      return true;
    },
    release(first, size) {
      used -= size;
      join(holes, findHole(holes, first), first, size);
    },
  };
}

/** Index of the first hole behind this row. */
function findHole(holes: readonly Hole[], row: number): number {
  let low = 0;
  let high = holes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holes[middle]!.first <= row) low = middle + 1;
    else high = middle;
  }
  return low;
}

function carve(holes: Hole[], index: number, first: number, size: number): void {
  const hole = holes[index]!;
  const before = { first: hole.first, size: first - hole.first };
  const after = { first: first + size, size: hole.first + hole.size - first - size };
  holes.splice(index, 1, ...[before, after].filter((rest) => rest.size > 0));
}

function join(holes: Hole[], index: number, first: number, size: number): void {
  const before = holes[index - 1];
  const after = holes[index];
  const joinsAfter = after !== undefined && after.first === first + size;
  if (before !== undefined && before.first + before.size === first) {
    before.size += size + (joinsAfter ? after.size : 0);
    if (joinsAfter) holes.splice(index, 1);
  } else if (joinsAfter) {
    after.first = first;
    after.size += size;
  } else {
    holes.splice(index, 0, { first, size });
  }
}
