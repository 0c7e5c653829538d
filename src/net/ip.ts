// IP addresses as text and as the 16 bytes of a map row. Own code, because API objects may hold IPv4 addresses with
// leading zeros, which are decimal (S-15): Node's parser refuses them, and inet_aton() reads them as octal.

export type Family = 4 | 6;

const dot = 46;
const colon = 58;
const mappedPrefix = 12; // bytes before the IPv4 address in ::ffff:a.b.c.d

/** 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2); undefined for text that is no address. */
export function parseAddress(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  if (text.includes(':')) return parse6(text, bytes) ? bytes : undefined;
  bytes[10] = bytes[11] = 0xff;
  return parse4(text, 0, bytes, mappedPrefix) ? bytes : undefined;
}

/** Canonical text: dotted decimal, or IPv6 as in RFC 5952. */
export function formatAddress(bytes: Uint8Array): string {
  if (isMapped(bytes)) return bytes.subarray(mappedPrefix).join('.');
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i]! << 8) | bytes[i + 1]!);
  const gap = longestZeros(groups);
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (gap.length < 2) return hex(groups); // a single zero group is not shortened
  return `${hex(groups.slice(0, gap.start))}::${hex(groups.slice(gap.start + gap.length))}`;
}

/** The canonical text of an address; undefined for text that is no address. */
export function canonicalAddress(text: string): string | undefined {
  const bytes = parseAddress(text);
  if (bytes === undefined) return undefined;
  // The common case. The string of the object itself is returned, so that no second copy stays in memory.
  if (!text.includes(':') && !leadingZero.test(text)) return text;
  const canonical = formatAddress(bytes);
  return canonical === text ? text : canonical;
}

const leadingZero = /(?:^|\.)0\d/;

/** The family of a canonical address. */
export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** The family of an address in any form, with ::ffff:a.b.c.d as IPv4; undefined for text that is no address. */
export function parseFamily(text: string): Family | undefined {
  const bytes = parseAddress(text);
  return bytes === undefined ? undefined : isMapped(bytes) ? 4 : 6;
}

/** Takes a canonical address: 127.0.0.0/8 or ::1. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Parses a.b.c.d from `from` to the end of the text. */
function parse4(text: string, from: number, out: Uint8Array, at: number): boolean {
  let octet = 0;
  let digits = 0;
  let count = 0;
  for (let i = from; i <= text.length; i++) {
    const code = i === text.length ? dot : text.charCodeAt(i);
    if (code === dot) {
      if (digits === 0 || count === 4) return false;
      out[at + count++] = octet;
      octet = digits = 0;
      continue;
    }
    if (code < 48 || code > 57) return false;
    octet = octet * 10 + code - 48;
    if (octet > 255) return false;
    digits++;
  }
  return count === 4;
}

interface Groups {
  at: number; // bytes written
  gap: number; // where "::" stood, -1 without
}

function parse6(text: string, out: Uint8Array): boolean {
  const state: Groups = { at: 0, gap: -1 };
  let i = 0;
  if (text.charCodeAt(0) === colon) {
    if (text.charCodeAt(1) !== colon) return false;
    state.gap = 0;
    i = 2;
  }
  while (i < text.length) {
    const next = parseGroup(text, i, out, state);
    if (next < 0) return false;
    i = next;
  }
  if (state.gap < 0) return state.at === 16;
  if (state.at > 14) return false; // "::" stands for one group at least
  out.copyWithin(16 - (state.at - state.gap), state.gap, state.at);
  out.fill(0, state.gap, 16 - (state.at - state.gap));
  return true;
}

/** Parses one group and the separator after it. Returns the index of the next group, or -1 for invalid text. */
function parseGroup(text: string, from: number, out: Uint8Array, state: Groups): number {
  let value = 0;
  let i = from;
  while (i < text.length && text.charCodeAt(i) !== colon) {
    if (text.charCodeAt(i) === dot) return parseTail4(text, from, out, state);
    const digit = hexDigit(text.charCodeAt(i++));
    if (digit < 0 || i - from > 4) return -1;
    value = (value << 4) | digit;
  }
  if (i === from || state.at > 14) return -1;
  out[state.at++] = value >> 8;
  out[state.at++] = value & 0xff;
  if (i === text.length) return i;
  if (text.charCodeAt(i + 1) !== colon) return i + 1 < text.length ? i + 1 : -1;
  if (state.gap >= 0) return -1;
  state.gap = state.at;
  return i + 2;
}

function parseTail4(text: string, from: number, out: Uint8Array, state: Groups): number {
  if (state.at > 12 || !parse4(text, from, out, state.at)) return -1;
  state.at += 4;
  return text.length;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let end = start;
    while (end < groups.length && groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
    start = Math.max(start, end - 1);
  }
  return best;
}
