// What a packet looks like once it is translated, by the model's own arithmetic: every checksum is adjusted by the
// words that changed (RFC 1624), so that one that was wrong stays wrong.
import { sctpChecksum } from '../packet/crc32c.ts';
import { addressBytes } from '../packet/packet.ts';
import { numbers, u16, type Read, type Tuple } from './read.ts';

/** A frame with the places of its checksums, of which 0 and 0xffff are the same number. */
export interface Written {
  readonly frame: Uint8Array;
  readonly sums: readonly number[];
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}

const wordsOf = (bytes: Uint8Array): number[] =>
  Array.from({ length: bytes.length / 2 }, (_, i) => u16(bytes, 2 * i));

/** The checksum after some words were exchanged for others. */
export function adjusted(check: number, before: readonly number[], after: readonly number[]): number {
  let sum = ~check & 0xffff;
  for (const word of before) sum += ~word & 0xffff;
  for (const word of after) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** UDP: 0 is no checksum, and what comes out as 0 is written as its twin. */
function transportSum(
  proto: number,
  check: number,
  before: readonly number[],
  after: readonly number[],
): number {
  if (proto === numbers.udp && check === 0) return 0;
  const result = adjusted(check, before, after);
  return proto === numbers.udp && result === 0 ? 0xffff : result;
}

export const sumOffset = (proto: number): number => (proto === numbers.udp ? 6 : 16);

const places = {
  4: { src: 12, dst: 16, size: 4, life: 8 },
  6: { src: 8, dst: 24, size: 16, life: 7 },
} as const;

/** Writes both addresses at an IP header; what the words there were and are. */
export function writeAddresses(
  frame: Uint8Array,
  l3: number,
  family: 4 | 6,
  src: string,
  dst: string,
): readonly [number[], number[]] {
  const { src: from, size } = places[family];
  const both = (): number[] => wordsOf(frame.slice(l3 + from, l3 + from + 2 * size));
  const before = both();
  frame.set(addressBytes(src, family), l3 + from);
  frame.set(addressBytes(dst, family), l3 + from + size);
  const after = both();
  if (family === 4) put16(frame, l3 + 10, adjusted(u16(frame, l3 + 10), before, after));
  return [before, after];
}

/** CRC32c over the message (RFC 9260): a right one is right again, a wrong one as wrong as before, and 0 is none. */
function putCrc(frame: Uint8Array, packet: Uint8Array, { l3, l4, ipLength }: Read): void {
  const before = new DataView(packet.buffer, packet.byteOffset).getUint32(l4 + 8, true);
  if (before === 0) return;
  const message = (bytes: Uint8Array): number => sctpChecksum(bytes.subarray(l4, l3 + ipLength));
  const value = (before ^ message(packet) ^ message(frame)) >>> 0;
  new DataView(frame.buffer, frame.byteOffset).setUint32(l4 + 8, value, true);
}

/** The packet with another tuple; ports and their checksum are only in a first fragment. */
export function translated(packet: Uint8Array, read: Read, to: Tuple): Written {
  const frame = packet.slice();
  const { family, l3, l4, proto } = read;
  const [before, after] = writeAddresses(frame, l3, family, to.src, to.dst);
  const ipSum = family === 4 ? [l3 + 10] : [];
  if (read.fragment?.later === true) return { frame, sums: ipSum };
  put16(frame, l4, to.sport);
  put16(frame, l4 + 2, to.dport);
  if (proto === numbers.sctp) {
    putCrc(frame, packet, read);
    return { frame, sums: ipSum };
  }
  const sum = l4 + sumOffset(proto);
  before.push(read.sport, read.dport);
  after.push(to.sport, to.dport);
  put16(frame, sum, transportSum(proto, u16(frame, sum), before, after));
  return { frame, sums: proto === numbers.tcp ? [...ipSum, sum] : ipSum };
}

/** Without the tags in the frame: they belong to the device that it came by. */
export function untagged({ frame, sums }: Written, l3: number): Written {
  const tags = l3 - 14;
  const bare = Uint8Array.from([...frame.subarray(0, 12), ...frame.subarray(12 + tags)]);
  return { frame: bare, sums: sums.map((at) => at - tags) };
}

/** Whether the transport checksum looks like one that a device is to finish: the folded sum of the pseudo header. */
export function unfinished(frame: Uint8Array, read: Read): boolean {
  const { l3, l4, family, ipLength, proto } = read;
  if (proto === numbers.sctp) return u16(frame, l4 + 8) === 0 && u16(frame, l4 + 10) === 0;
  const [from, size] = family === 4 ? [l3 + 12, 8] : [l3 + 8, 32];
  let sum = ipLength - (l4 - l3) + proto;
  for (let at = from; at < from + size; at += 2) sum += u16(frame, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return u16(frame, l4 + sumOffset(proto)) === sum;
}

/** What a router does to the packet. */
export function aged(frame: Uint8Array, l3: number, family: 4 | 6): void {
  const at = l3 + places[family].life;
  const word = at & ~1;
  const before = u16(frame, word);
  frame[at] = (frame[at] ?? 0) - 1;
  if (family === 4) put16(frame, l3 + 10, adjusted(u16(frame, l3 + 10), [before], [u16(frame, word)]));
}

export const lifeOf = (frame: Uint8Array, { l3, family }: Read): number =>
  frame[l3 + places[family].life] ?? 0;

/** The quoted packet and the addresses around it, in an ICMP error about `quoted`, once more as its reader knows it. */
export interface Quote {
  readonly l3: number;
  readonly l4: number;
  readonly tuple: Tuple;
}

function writeQuote(frame: Uint8Array, family: 4 | 6, quote: Quote, to: Tuple): void {
  const [before, after] = writeAddresses(frame, quote.l3, family, to.src, to.dst);
  const { l4, tuple } = quote;
  before.push(tuple.sport, tuple.dport);
  after.push(to.sport, to.dport);
  put16(frame, l4, to.sport);
  put16(frame, l4 + 2, to.dport);
  const sum = l4 + sumOffset(tuple.proto);
  if (tuple.proto === numbers.sctp || sum + 2 > frame.length) return;
  const check = u16(frame, sum);
  // A quoted checksum is not verified by the receiver: one that becomes 0 stays so.
  if (tuple.proto !== numbers.udp || check !== 0) put16(frame, sum, adjusted(check, before, after));
}

export function translatedError(
  packet: Uint8Array,
  read: Read,
  quote: Quote,
  to: { readonly quoted: Tuple; readonly src: string; readonly dst: string },
): Written {
  const frame = packet.slice();
  const { family, l3, l4, ipLength } = read;
  const message = (): number[] => {
    const even = frame.slice(l4 + 4, l4 + 4 + ((l3 + ipLength - l4 - 4 + 1) & ~1));
    if ((l3 + ipLength - l4) % 2 === 1) even[even.length - 1] = 0;
    return wordsOf(even);
  };
  const before = message();
  writeQuote(frame, family, quote, to.quoted);
  const after = message();
  const [outerBefore, outerAfter] = writeAddresses(frame, l3, family, to.src, to.dst);
  const covered = family === 6 ? [outerBefore, outerAfter] : [[], []];
  const check = u16(frame, l4 + 2);
  put16(
    frame,
    l4 + 2,
    adjusted(check, [...before, ...(covered[0] ?? [])], [...after, ...(covered[1] ?? [])]),
  );
  const quotedSum = quote.l4 + sumOffset(quote.tuple.proto);
  const sums = family === 4 ? [l3 + 10, quote.l3 + 10, l4 + 2, quotedSum] : [l4 + 2, quotedSum];
  return { frame, sums };
}

/** Both frames as one number each would be: 0xffff for 0 at the places of checksums. */
export function settled(frame: Uint8Array, sums: readonly number[]): Uint8Array {
  const copy = frame.slice();
  for (const at of sums) if (at + 2 <= copy.length && u16(copy, at) === 0) put16(copy, at, 0xffff);
  return copy;
}
