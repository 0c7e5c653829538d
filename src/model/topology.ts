// Topology hints (KEP-2433): keep traffic on this node or in this zone, if every endpoint has a hint (S-37).
import type { EndpointObject } from '../source/objects.ts';
import type { NodeIdentity } from './types.ts';

interface Hinted {
  readonly object: EndpointObject;
}

/**
 * Of the ready endpoints, those with a hint for this node, else for this zone, else all. One endpoint without hints
 * switches a kind of hint off for all, and so does the lack of any hint for this node or zone.
 */
export function withinTopology<T extends Hinted>(ready: readonly T[], node: NodeIdentity): readonly T[] {
  return (
    hintedFor(ready, node.name, (object) => object.nodeHints) ??
    hintedFor(ready, node.zone, (object) => object.zoneHints) ??
    ready
  );
}

function hintedFor<T extends Hinted>(
  ready: readonly T[],
  place: string,
  hints: (object: EndpointObject) => readonly string[],
): readonly T[] | undefined {
  if (place === '' || !ready.every(({ object }) => hints(object).length > 0)) return undefined;
  const near = ready.filter(({ object }) => hints(object).includes(place));
  return near.length > 0 ? near : undefined;
}
