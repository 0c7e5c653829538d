// Address ranges as CIDR text: one spelling for each, and who is in it.
import { familyOf, formatAddress, parseAddress, type Family } from './ip.ts';

/** Bits before the IPv4 address in ::ffff:a.b.c.d. */
const mappedBits = 96;

export interface Range {
  readonly bytes: Uint8Array; // host bits are 0
  readonly bits: number; // of these 128
}

/** Masked and spelt in the one way that there is for this range; undefined when it is none (S-15). */
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

/** Both canonical. */
export function cidrContains(range: string, address: string): boolean {
  const within = parseCidr(range);
  const bytes = parseAddress(address);
  if (within === undefined || bytes === undefined || cidrFamily(range) !== familyOf(address)) return false;
  return mask(bytes, within.bits).every((byte, index) => byte === within.bytes[index]);
}

/** The range that holds this canonical address alone. */
export function hostCidr(address: string): string {
  return `${address}/${familyOf(address) === 4 ? 32 : 128}`;
}

/** Of an IPv4 range, bits and bytes are those of its addresses as ::ffff:a.b.c.d. */
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
