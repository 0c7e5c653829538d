// Chooses the backend sets of the two lists of a service port.
import { distinctSets, identitiesOf, type BackendSet, type BackendSets } from './pool.ts';
import { lists, type BackendRow } from './rows.ts';
import type { Allocation } from './allocation.ts';

export interface ChosenSets {
  readonly sets: BackendSets;
  /** Maglev tables that must be written. */
  readonly positions: ReadonlyMap<BackendSet, Uint16Array>;
}

/** Sets of these backends. A set that the port has is used again if it has the same backends in the same order. */
export function chooseSets(
  allocation: Allocation,
  before: BackendSets,
  backends: readonly BackendRow[],
): ChosenSets {
  const positions = new Map<BackendSet, Uint16Array>();
  const known = [...distinctSets(before)];
  const choose = (list: number): BackendSet | undefined => {
    const isMember = (row: BackendRow): boolean => (row.lists & list) !== 0;
    if (!backends.some(isMember)) return undefined;
    const chosen = backends.every(isMember) ? backends : backends.filter(isMember);
    const same = known.find((set) => holds(set, chosen));
    if (same !== undefined) return same;
    const made = allocation.set(
      chosen.map((row) => row.id),
      identitiesOf(chosen),
    );
    if (made.positions !== undefined) positions.set(made.set, made.positions);
    known.push(made.set);
    return made.set;
  };
  return { sets: { cluster: choose(lists.cluster), local: choose(lists.local) }, positions };
}

function holds({ ids }: BackendSet, backends: readonly BackendRow[]): boolean {
  return ids.length === backends.length && ids.every((id, index) => id === backends[index]!.id);
}
