// Address ranges as CIDR text: the canonical form, and whether an address is in a range. IPv4 ranges are kept as IPv6
// ranges of ::ffff:a.b.c.d, as addresses are.
import { familyOf, formatAddress, parseAddress, type Family } from './ip.ts';

/** Bits before the IPv4 address in ::ffff:a.b.c.d. */
const mappedBits = 96;

export interface Range {
  readonly bytes: Uint8Array; // host bits are 0
  readonly bits: number; // of these 128
}

/** The canonical text of a range, with host bits cleared; undefined for text that is no CIDR (S-15). */
export function canonicalCidr(text: string): string | undefined {
  const range = parseCidr(text);
  return range === undefined ? undefined : formatCidr(range);
}

export function formatCidr({ bytes, bits }: Range): string {
  const address = formatAddress(bytes);
  return `${address}/${familyOf(address) === 4 ? bits - mappedBits : bits}`;
}

/** The family of a canonical range. */
export function cidrFamily(range: string): Family {
  return familyOf(range);
}

/** Takes canonical text. A range of one family contains no address of the other. */
export function cidrContains(range: string, address: string): boolean {
  const within = parseCidr(range);
  const bytes = parseAddress(address);
  if (within === undefined || bytes === undefined || cidrFamily(range) !== familyOf(address)) return false;
  return mask(bytes, within.bits).every((byte, index) => byte === within.bytes[index]);
}

/** The /32 or /128 of a canonical address. */
export function hostCidr(address: string): string {
  return `${address}/${familyOf(address) === 4 ? 32 : 128}`;
}

/** Surrounding white space is ignored. "::ffff:10.0.0.0/104" is the IPv4 range 10.0.0.0/8. */
export function parseCidr(text: string): Range | undefined {
  const [ip = '', count = '', ...rest] = text.trim().split('/');
  const bytes = parseAddress(ip);
  if (bytes === undefined || rest.length > 0 || !/^\d{1,3}$/.test(count)) return undefined;
  const isMapped = familyOf(formatAddress(bytes)) === 4;
  const bits = Number(count) + (ip.includes(':') ? 0 : mappedBits);
  if (bits > 128 || (isMapped && bits < mappedBits)) return undefined;
  return { bytes: mask(bytes, bits), bits };
}

function mask(bytes: Uint8Array, bits: number): Uint8Array {
  return bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - index * 8))));
}
