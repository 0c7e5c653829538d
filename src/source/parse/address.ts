// Addresses and CIDRs of objects. They stay text here: the model makes them canonical (S-15).
import { parseCidr } from '../../net/cidr.ts';
import { parseFamily } from '../../net/ip.ts';
import { items, reject, text, type Place } from './reader.ts';

/** The address at this place; undefined, with a problem noted, when it is no address (S-15). */
export function address(place: Place): string | undefined {
  const value = text(place);
  if (value === undefined) return undefined;
  return parseFamily(value) === undefined
    ? reject(place, `${JSON.stringify(value)} is no IP address`)
    : value;
}

/** `range`, or undefined, with a problem noted, when it is no CIDR. */
export function cidr(place: Place, range: string): string | undefined {
  return parseCidr(range) === undefined ? reject(place, `${JSON.stringify(range)} is no CIDR`) : range;
}

/** The addresses of a list; each that is none is noted and left out. */
export function addresses(list: Place): readonly string[] {
  return items(list).flatMap((item) => address(item) ?? []);
}
