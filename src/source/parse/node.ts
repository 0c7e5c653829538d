// A raw v1 Node, narrowed to what a proxy needs of it.
import type { NodeObject } from '../objects.ts';
import { isCidr } from './address.ts';
import { parseMeta } from './meta.ts';
import { at, isAbsent, items, reject, text, type Place } from './reader.ts';

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

/** podCIDRs, or podCIDR of objects older than dual stack. */
function parsePodCidrs(spec: Place): readonly string[] {
  const list = items(at(spec, 'podCIDRs'));
  const places = list.length > 0 ? list : [at(spec, 'podCIDR')];
  return places.flatMap((place) => {
    const range = text(place);
    if (range === undefined || range === '') return [];
    if (isCidr(range)) return [range];
    reject(place, `${JSON.stringify(range)} is no CIDR`);
    return [];
  });
}
