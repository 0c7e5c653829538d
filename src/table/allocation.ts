// Allocates ids and rows for one service port, all or none.
import type { TableState } from './state.ts';
import type { Table, BackendSet } from './pool.ts';

/** A map has too few free rows for a service port. */
export class CapacityError extends Error {
  readonly map: string;
  constructor(map: string) {
    super(map);
    this.map = map;
  }
}

export interface Allocation {
  serviceId(): number;
  backendId(): number;
  /** A set that no service row names yet; `positions` is set when its Maglev table must be written. */
  set(
    ids: readonly number[],
    identities: readonly string[],
  ): { set: BackendSet; positions: Uint16Array | undefined };
  ranges(rows: number): void;
  /** Releases everything. */
  undo(): void;
}

export function beginAllocation(state: TableState): Allocation {
  const undone: (() => void)[] = [];
  function keep<T>(map: string, taken: T | undefined, undo: (taken: T) => void): T {
    if (taken === undefined) throw new CapacityError(map);
    undone.push(() => undo(taken));
    return taken;
  }
  const { serviceIds, backendIds, setRows, slotRows, tables, rangeRows } = state;
  return {
    serviceId: () => keep('slb_services', serviceIds.take(), (id) => serviceIds.release(id)),
    backendId: () => keep('slb_backends', backendIds.take(), (id) => backendIds.release(id)),
    set(ids, identities) {
      const index = keep('slb_sets', setRows.take(1), (row) => setRows.release(row, 1));
      const first = keep('slb_slots', slotRows.take(ids.length), (row) => slotRows.release(row, ids.length));
      const taken = keep('slb_maglev', tables.take(identities), ({ table }) => tables.release(table));
      return { set: { index, first, ids, table: taken.table }, positions: taken.positions };
    },
    ranges: (rows) => {
      keep('slb_ranges', rangeRows.take(rows) ? rows : undefined, (taken) => rangeRows.release(taken));
    },
    undo: () => {
      for (const release of undone.reverse()) release();
    },
  };
}

/** Frees the rows of a set once no packet can be reading them. */
export function releaseSet(
  state: TableState,
  set: { index: number; first: number; ids: readonly number[]; table: Table },
): void {
  state.setRows.release(set.index, 1);
  state.slotRows.release(set.first, set.ids.length);
  state.tables.release(set.table);
}
