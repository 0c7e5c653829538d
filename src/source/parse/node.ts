// A raw v1 Node, narrowed to what a proxy needs of it.
import type { NodeObject } from '../objects.ts';
import { parseMeta } from './meta.ts';
import { at, isAbsent, items, text, type Place } from './reader.ts';

export function parseNode(object: Place): NodeObject | undefined {
  const meta = parseMeta(object, '');
  if (meta === undefined) return undefined;
  return {
    kind: 'Node',
    meta,
    addresses: items(at(object, 'status', 'addresses')).flatMap((place) => {
      const address = text(at(place, 'address'));
      return address === undefined ? [] : { type: text(at(place, 'type')) ?? '', address };
    }),
    taints: items(at(object, 'spec', 'taints')).flatMap((place) => text(at(place, 'key')) ?? []),
    deleting: !isAbsent(at(object, 'metadata', 'deletionTimestamp')),
  };
}
