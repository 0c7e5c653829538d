// Maglev tables in slb_maglev, shared by all service ports with the same backend addresses, with reference counts.
import { buildTable, tableSizes } from './maglev.ts';
import type { Extents } from './extents.ts';

export interface Table {
  readonly key: string;
  readonly first: number;
  readonly size: number;
  users: number;
}

/** A row of slb_sets with its slot list and Maglev table. Never changed while a service row names it. */
export interface BackendSet {
  readonly index: number;
  readonly first: number; // in slb_slots
  readonly ids: readonly number[];
  readonly table: Table;
}

/** undefined: the empty set, index 0. Equal lists are one set. */
export interface BackendSets {
  readonly cluster: BackendSet | undefined;
  readonly local: BackendSet | undefined;
}

export const noSets: BackendSets = { cluster: undefined, local: undefined };

/** The sets without duplicates. */
export function distinctSets({ cluster, local }: BackendSets): readonly BackendSet[] {
  const list = cluster === local ? [cluster] : [cluster, local];
  return list.filter((set) => set !== undefined);
}

export interface TablePool {
  readonly ranges: Extents;
  /** The table of these backends; `positions` is set when it must be written first. undefined: no room. */
  take(identities: readonly string[]): { table: Table; positions: Uint16Array | undefined } | undefined;
  /** Counts one more user of a table found in the kernel; undefined when its rows are those of another table. */
  adopt(identities: readonly string[], first: number, size: number): Table | undefined;
  release(table: Table): void;
}

interface Located {
  readonly address: string;
  readonly port: number;
}

/**
 * The texts that the permutations of backends are made from: addresses, if they are distinct. All ports of a Service
 * then share one table, and connections of a client to them tend to go to the same pod.
 */
export function identitiesOf(backends: readonly Located[]): readonly string[] {
  const alone = new Set(backends.map((backend) => backend.address)).size === backends.length;
  return backends.map((backend) => (alone ? backend.address : `${backend.address} ${backend.port}`));
}

export function createTablePool(ranges: Extents): TablePool {
  const tables = new Map<string, Table>();
  const enlist = (key: string, first: number, size: number): Table => {
    const table = { key, first, size, users: 1 };
    tables.set(key, table);
    return table;
  };
  return {
    ranges,
    take(identities) {
      const key = keyOf(identities);
      const known = tables.get(key);
      if (known !== undefined) {
        known.users++;
        return { table: known, positions: undefined };
      }
      for (const size of affordable(ranges, tableSizes(identities.length))) {
        const first = ranges.take(size);
        if (first !== undefined)
          return { table: enlist(key, first, size), positions: buildTable(identities, size) };
      }
      return undefined;
    },
    adopt(identities, first, size) {
      const key = keyOf(identities);
      const known = tables.get(key);
      if (known === undefined) return ranges.adopt(first, size) ? enlist(key, first, size) : undefined;
      if (known.first !== first || known.size !== size) return undefined;
      known.users++;
      return known;
    },
    release(table) {
      if (--table.users > 0) return;
      tables.delete(table.key);
      ranges.release(table.first, table.size);
    },
  };
}

/** The sizes to try: smaller ones when the map is nearly full, so that every Service gets a table. */
function affordable({ used, capacity }: Extents, sizes: readonly number[]): readonly number[] {
  const skipped = scarce.filter((fill) => used >= capacity * fill).length;
  return sizes.slice(Math.min(skipped, sizes.length - 1));
}

const scarce = [0.75, 0.875];

/** A single backend fills its table with position 0, whatever its address. */
function keyOf(identities: readonly string[]): string {
  return identities.length === 1 ? '1' : identities.join(',');
}
