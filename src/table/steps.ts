// How a service row changes while packets read it and frontends move from one service port to another: as a sequence of
// rows. A packet may see any of them, or half of one and half of the next, and finds a backend.
import { damaged, sameService, serviceFlags, type ServiceRow } from './rows.ts';

export interface ServiceChange {
  /** undefined: a row that has not been read yet. */
  readonly before: ServiceRow | undefined;
  readonly after: ServiceRow;
}

/** Whether frontends of a service port move in the same transaction. */
export interface Moves {
  /** From it to another service port, or to another kind. */
  readonly left: boolean;
  /** To it. */
  readonly joined: boolean;
}

export interface ServiceSteps {
  /** Written before frontends move. */
  readonly early: readonly ServiceRow[];
  /** Written after that. */
  readonly late: readonly ServiceRow[];
}

/**
 * A row must be ready before frontends move to it, and must stay as it was until frontends have moved from it. If both
 * happen to one row, it has a transitional form in between: all find a backend, and those that leave may find a new
 * one.
 */
export function serviceSteps({ before, after }: ServiceChange, { left, joined }: Moves): ServiceSteps {
  if (before === undefined || before.clusterSet === damaged || before.localSet === damaged)
    return { early: [after], late: [] };
  if (!left) return { early: stepsTo(before, after), late: [] };
  const between = joined ? transitional(before, after) : before;
  return { early: stepsTo(before, between), late: stepsTo(between, after) };
}

/**
 * If a policy changes, the set that it now uses must be there before, and the one that it used must stay until after.
 */
function stepsTo(before: ServiceRow, after: ServiceRow): readonly ServiceRow[] {
  if (((before.flags ^ after.flags) & policies) === 0) return sameService(before, after) ? [] : [after];
  const both = eitherSets(before, after);
  const rows = [{ ...before, ...both }, { ...after, ...both }, after];
  return rows.filter((row, index) => !sameService(index === 0 ? before : rows[index - 1]!, row));
}

/**
 * A row in which every client finds a set that finds one in `before` or in `after`. It has the sets of both. A policy
 * is the old one if that led to a set. Other flags are those of both: for that moment a source range may deny a client
 * that one of the rows allows, but none is allowed that both deny.
 */
function transitional(before: ServiceRow, after: ServiceRow): ServiceRow {
  let kept = 0;
  for (const policy of [serviceFlags.internalLocal, serviceFlags.externalLocal])
    if (((before.flags & policy) === 0 ? before.clusterSet : before.localSet) !== 0) kept |= policy;
  const others = (before.flags | after.flags) & ~policies;
  const flags = others | (before.flags & kept) | (after.flags & policies & ~kept);
  return { ...after, ...eitherSets(before, after), flags };
}

/** The sets of `after`, or those of `before` where they are empty. */
function eitherSets(before: ServiceRow, after: ServiceRow): Pick<ServiceRow, 'clusterSet' | 'localSet'> {
  return {
    clusterSet: after.clusterSet === 0 ? before.clusterSet : after.clusterSet,
    localSet: after.localSet === 0 ? before.localSet : after.localSet,
  };
}

const policies = serviceFlags.internalLocal | serviceFlags.externalLocal;
