// How a service row changes under packets that are reading it, while frontends move from one service port to another: in
// rows to write one after the other, each of which is safe to meet after the one before, half of it too.
import { damaged, sameService, serviceFlags, type ServiceRow } from './rows.ts';

export interface ServiceChange {
  /** undefined: a row that has not been read yet. */
  readonly before: ServiceRow | undefined;
  readonly after: ServiceRow;
}

/** What happens to a service port's frontends in the same transaction. */
export interface Moves {
  /** Some that it had lead to another service port, or are of another kind. */
  readonly left: boolean;
  readonly joined: boolean;
}

export interface ServiceSteps {
  /** Before frontends move. */
  readonly early: readonly ServiceRow[];
  /** After that. */
  readonly late: readonly ServiceRow[];
}

/**
 * A row that frontends join must be ready before they do; one that they leave must stay as it was until they have. Where
 * both happen to one row, none of them misses a backend; for that moment those that leave may meet the new ones.
 */
export function serviceSteps({ before, after }: ServiceChange, { left, joined }: Moves): ServiceSteps {
  if (before === undefined || before.clusterSet === damaged || before.localSet === damaged)
    return { early: [after], late: [] };
  if (!left) return { early: stepsTo(before, after), late: [] };
  const between = joined ? compromise(before, after) : before;
  return { early: stepsTo(before, between), late: stepsTo(between, after) };
}

/** Where a policy changes, the list it points to must be there before, and the one it pointed to must stay until after. */
function stepsTo(before: ServiceRow, after: ServiceRow): readonly ServiceRow[] {
  if (((before.flags ^ after.flags) & policies) === 0) return sameService(before, after) ? [] : [after];
  const both = eitherSets(before, after);
  const rows = [{ ...before, ...both }, { ...after, ...both }, after];
  return rows.filter((row, index) => !sameService(index === 0 ? before : rows[index - 1]!, row));
}

/**
 * What finds a list in one of the rows finds one here. A policy is the old one where that led to a list, for those
 * that leave: the sets of either row are here, so it leads to one for those that join, too. Other flags are those of both:
 * for a moment a client may be refused, but none is let in that neither row admits.
 */
function compromise(before: ServiceRow, after: ServiceRow): ServiceRow {
  let kept = 0;
  for (const policy of [serviceFlags.internalLocal, serviceFlags.externalLocal])
    if (((before.flags & policy) === 0 ? before.clusterSet : before.localSet) !== 0) kept |= policy;
  const others = (before.flags | after.flags) & ~policies;
  const flags = others | (before.flags & kept) | (after.flags & policies & ~kept);
  return { ...after, ...eitherSets(before, after), flags };
}

/** Not empty where one of them is not. */
function eitherSets(before: ServiceRow, after: ServiceRow): Pick<ServiceRow, 'clusterSet' | 'localSet'> {
  return {
    clusterSet: after.clusterSet === 0 ? before.clusterSet : after.clusterSet,
    localSet: after.localSet === 0 ? before.localSet : after.localSet,
  };
}

const policies = serviceFlags.internalLocal | serviceFlags.externalLocal;
