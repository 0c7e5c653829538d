// The state of a new agent, restored from the rows that an earlier agent left in the kernel (S-103).
import { compare } from './diff.ts';
import { slotOf, successorOf } from './ids.ts';
import { createState, type Capacity, type TableState } from './state.ts';
import { damaged, rangeKinds, type BackendRow, type KernelRows, type RangeRow } from './rows.ts';
import { identitiesOf, type BackendSet, type BackendSets } from './pool.ts';

/** Service rows that a frontend names are kept, with their backends; all other rows are free. */
export function restoreState(capacity: Capacity, kernel: KernelRows): TableState {
  const named = new Set(kernel.frontends.map((row) => row.service));
  const live = kernel.services.filter((row) => row.id !== 0 && named.has(row.id));
  const backends = backendsOf(kernel, new Set(live.map((row) => row.id)));
  const kept = new Set([...backends.values()].flat().map((row) => row.id));
  const state = createState(capacity, {
    services: { live: live.map((row) => row.id), free: freeServices(kernel, named) },
    backends: { live: kept, free: freeIds(kernel.backends, (id) => kept.has(id)) },
  });
  for (const row of kernel.frontends) state.frontends.adopt(row);
  for (const row of kernel.devices) state.devices.adopt(row);
  const ranges = adoptRanges(state, kernel.ranges, new Set(live.map((row) => row.id)));
  const sets = new Map(kernel.sets.map((row) => [row.index, row]));
  for (const row of live) {
    const own = backends.get(row.id) ?? [];
    const adopt = (index: number): BackendSet | undefined => {
      const found = sets.get(index);
      return found === undefined ? undefined : adoptSet(state, kernel, found, own);
    };
    const cluster = adopt(row.clusterSet);
    const adopted = { cluster, local: row.localSet === row.clusterSet ? cluster : adopt(row.localSet) };
    state.orphans.set(row.id, {
      port: undefined,
      row: markDamaged(row, adopted),
      backends: own,
      sets: adopted,
      ranges: ranges.get(row.id) ?? [],
    });
  }
  return state;
}

/** Ranges by service id. */
function adoptRanges(
  state: TableState,
  found: readonly RangeRow[],
  live: ReadonlySet<number>,
): Map<number, RangeRow[]> {
  const ofPods = found.filter((row) => row.kind === rangeKinds.pod);
  for (const row of ofPods) state.podRanges.adopt(row);
  state.rangeRows.take(found.length - ofPods.length);
  const byService = new Map<number, RangeRow[]>();
  for (const row of found) {
    if (row.kind === rangeKinds.pod) continue;
    const own = byService.get(row.service);
    if (!live.has(row.service)) state.strayRanges.push(row);
    else if (own === undefined) byService.set(row.service, [row]);
    else own.push(row);
  }
  return byService;
}

function backendsOf(kernel: KernelRows, live: ReadonlySet<number>): Map<number, BackendRow[]> {
  const found = new Map<number, BackendRow[]>();
  for (const row of kernel.backends) {
    if (row.id === 0 || !live.has(row.service)) continue;
    const own = found.get(row.service);
    if (own === undefined) found.set(row.service, [row]);
    else own.push(row);
  }
  for (const own of found.values()) own.sort(compare);
  return found;
}

/** If an agent died before it wrote a free row, that has the id of its last user: the next free id is its successor. */
function freeIds(
  rows: readonly { readonly id: number }[],
  isLive: (id: number) => boolean,
): readonly number[] {
  return rows.filter((row) => row.id !== 0 && !isLive(row.id)).map((row) => successorOf(row.id));
}

/**
 * If an agent died before it wrote a service row, backends and ranges may name its id: the next id is beyond that too.
 */
function freeServices(kernel: KernelRows, live: ReadonlySet<number>): readonly number[] {
  const free = new Map(freeIds(kernel.services, (id) => live.has(id)).map((id) => [slotOf(id), id]));
  const written = [...kernel.backends, ...kernel.ranges].map(({ service }) => service);
  const lost = new Set(written.filter((id) => id !== 0 && !live.has(id)));
  for (const id of lost) {
    let next = free.get(slotOf(id)) ?? slotOf(id);
    while (lost.has(next)) next = successorOf(next);
    free.set(slotOf(id), next);
  }
  return [...free.values()];
}

function adoptSet(
  state: TableState,
  kernel: KernelRows,
  row: KernelRows['sets'][number],
  own: readonly BackendRow[],
): BackendSet | undefined {
  const ids = [...kernel.slots.subarray(row.slots, row.slots + row.count)];
  const byId = new Map(own.map((backend) => [backend.id, backend]));
  const chosen = ids.flatMap((id) => byId.get(id) ?? []);
  if (row.count === 0 || chosen.length !== row.count || !state.setRows.adopt(row.index, 1)) return undefined;
  if (!state.slotRows.adopt(row.slots, row.count)) {
    state.setRows.release(row.index, 1);
    return undefined;
  }
  const table = state.tables.adopt(identitiesOf(chosen), row.maglev, row.maglevSize);
  if (table !== undefined) return { index: row.index, first: row.slots, ids, table };
  state.setRows.release(row.index, 1);
  state.slotRows.release(row.slots, row.count);
  return undefined;
}

/** An inconsistent set is not kept: it is marked so that the row differs from any wanted one, and is written. */
function markDamaged(row: KernelRows['services'][number], { cluster, local }: BackendSets): typeof row {
  const isWhole = (index: number, set: BackendSet | undefined): boolean => set !== undefined || index === 0;
  return {
    ...row,
    clusterSet: isWhole(row.clusterSet, cluster) ? row.clusterSet : damaged,
    localSet: isWhole(row.localSet, local) ? row.localSet : damaged,
  };
}
