// A raw v1 Node, narrowed to the fields that a proxy uses.
import type { NodeObject } from '../objects.ts';
import { cidr } from './address.ts';
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
    podCIDRs: parsePodCidrs(at(object, 'spec')),
    taints: items(at(object, 'spec', 'taints')).flatMap((place) => text(at(place, 'key')) ?? []),
    deleting: !isAbsent(at(object, 'metadata', 'deletionTimestamp')),
  };
}

/** podCIDRs, or podCIDR of objects from before dual stack. */
function parsePodCidrs(spec: Place): readonly string[] {
  const list = items(at(spec, 'podCIDRs'));
  const places = list.length > 0 ? list : [at(spec, 'podCIDR')];
  return places.flatMap((place) => {
    const range = text(place);
    return range === undefined || range === '' ? [] : (cidr(place, range) ?? []);
  });
}
