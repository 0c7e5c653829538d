// Is this text an address at all? Addresses stay text here: the model gives them their canonical form (S-15).
import { isIP, isIPv4 } from 'node:net';
import type { Family } from '../../net/ip.ts';
import { items, reject, text, type Place } from './reader.ts';

/** IPv4 in IPv6 clothes is IPv4 (S-15). */
const mapped = /^[0:]*:ffff:([0-9.]+|[0-9a-f]{1,4}:[0-9a-f]{1,4})$/i;

/** 4 or 6, or undefined when it is no address. Old objects hold IPv4 with leading zeros, which are decimal (S-15). */
export function familyOf(address: string): Family | undefined {
  const family = mapped.test(address) ? 4 : isIP(address);
  if (family === 4 || family === 6) return family;
  return isIPv4(address.replace(/(?<![0-9])0+(?=[0-9])/g, '')) ? 4 : undefined;
}

/** An address and the bits of it that count. Of IPv4 in IPv6 clothes these are still the bits of IPv6. */
export function isCidr(range: string): boolean {
  const [ip = '', bits = '', ...rest] = range.split('/');
  const family = familyOf(ip);
  if (family === undefined || rest.length > 0 || !/^[0-9]{1,3}$/.test(bits)) return false;
  if (!ip.includes(':')) return Number(bits) <= 32;
  return Number(bits) <= 128 && (family === 6 || Number(bits) >= 96);
}

/** The address at this place; what is no address is noted and left out, alone (S-15). */
export function address(place: Place): string | undefined {
  const value = text(place);
  if (value === undefined) return undefined;
  return familyOf(value) === undefined ? reject(place, `${JSON.stringify(value)} is no IP address`) : value;
}

export function addresses(list: Place): readonly string[] {
  return items(list).flatMap((item) => address(item) ?? []);
}
