// Topology hints: keep traffic on this node or in this zone where every endpoint says how (S-37).
import type { EndpointObject } from '../source/objects.ts';
import type { NodeIdentity } from './types.ts';

interface Hinted {
  readonly object: EndpointObject;
}

/**
 * Of the ready endpoints, those meant for this node, else for this zone, else all. The fall-back lies in choosing the
 * mode: one endpoint without a hint switches the mode off for all, and so does the lack of any hint for this node.
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
