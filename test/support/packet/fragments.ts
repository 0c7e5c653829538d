// Packets cut into fragments, as a router or the sender's own IP layer does.
import { addressBytes, eth } from './packet.ts';
import { familyOf } from '../../../src/net/ip.ts';

const ip4Header = 20;
const ip6Header = 40;

const text = (bytes: Uint8Array): string =>
  bytes.length === 4
    ? bytes.join('.')
    : Array.from({ length: 8 }, (_, i) =>
        (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
      ).join(':');

interface Whole {
  readonly src: string;
  readonly dst: string;
  readonly protocol: number;
  readonly body: Uint8Array;
}

/** An untagged frame with an IP header that has no options or extensions. */
function open(frame: Uint8Array): Whole {
  const packet = frame.subarray(14);
  const four = (packet[0] ?? 0) >> 4 === 4;
  const [from, length, header] = four ? [12, 4, ip4Header] : [8, 16, ip6Header];
  return {
    src: text(packet.subarray(from, from + length)),
    dst: text(packet.subarray(from + length, from + 2 * length)),
    protocol: packet[four ? 9 : 6] ?? 0,
    body: packet.subarray(header),
  };
}

/** A fragment of a packet with these addresses: bytes `from` to `to` of `body`. */
export function fragment(whole: Whole, id: number, from: number, to: number): Uint8Array {
  const { src, dst, protocol, body } = whole;
  const more = to < body.length;
  const part = body.subarray(from, to);
  if (addressBytesLength(src) === 4)
    return eth().ip4({ src, dst, id, fragment: from, more, protocol }).payload(part).bytes();
  const head = Uint8Array.of(
    from >> 8,
    (from & 0xf8) | (more ? 1 : 0),
    ...[24, 16, 8, 0].map((s) => (id >>> s) & 255),
  );
  return eth()
    .ip6({ src, dst, protocol, extensions: [{ type: 44, body: head }] })
    .payload(part)
    .bytes();
}

const addressBytesLength = (address: string): number => addressBytes(address, familyOf(address)).length;

/** The fragments of a frame, each with `size` bytes of payload (a multiple of 8) but the last. */
export function cut(frame: Uint8Array, size: number, id: number): Uint8Array[] {
  const whole = open(frame);
  const pieces: Uint8Array[] = [];
  for (let from = 0; from < whole.body.length; from += size)
    pieces.push(fragment(whole, id, from, Math.min(from + size, whole.body.length)));
  return pieces;
}

/** What the receiver makes of fragments that have all come, in whatever order; undefined when something is missing. */
export function join(frames: readonly Uint8Array[]): Uint8Array | undefined {
  const parts = frames.map(openFragment).sort((a, b) => a.from - b.from);
  const [first] = parts;
  if (first?.from !== 0 || parts.at(-1)?.more !== false) return undefined;
  if (
    parts.some(
      ({ from }, i) => i > 0 && from !== (parts[i - 1]?.from ?? 0) + (parts[i - 1]?.part.length ?? 0),
    )
  )
    return undefined;
  const { src, dst, protocol } = first;
  const body = Uint8Array.from(parts.flatMap(({ part }) => [...part]));
  const packet = eth();
  return familyOf(src) === 6
    ? packet.ip6({ src, dst, protocol }).payload(body).bytes()
    : packet.ip4({ src, dst, protocol }).payload(body).bytes();
}

function openFragment(frame: Uint8Array): {
  src: string;
  dst: string;
  protocol: number;
  from: number;
  more: boolean;
  part: Uint8Array;
} {
  const { src, dst, protocol, body } = open(frame);
  const four = familyOf(src) === 4;
  const header = four ? frame.subarray(14 + 6, 14 + 8) : body.subarray(2, 4);
  const word = ((header[0] ?? 0) << 8) | (header[1] ?? 0);
  return four
    ? { src, dst, protocol, from: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0, part: body }
    : {
        src,
        dst,
        protocol: body[0] ?? 0,
        from: word & 0xfff8,
        more: (word & 1) === 1,
        part: body.subarray(8),
      };
}
