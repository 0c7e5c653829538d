// Packets that are too large for their way and may be fragmented: the stack gets them with their own source, and
// where it sends what it has made of them they are given the source that they were to have.
import { numbers, tupleText, u16, type Read, type Tuple } from './read.ts';

const seconds = 2; // as long as the stack may have a packet

/** IPv4 without DF; SCTP does not fragment. */
export function maySplit(frame: Uint8Array, { family, l3, proto }: Read): boolean {
  return family === 4 && (u16(frame, l3 + 6) & 0x4000) === 0 && proto !== numbers.sctp;
}

type Source = Pick<Tuple, 'src' | 'sport'>;

export class Splits {
  readonly #sources = new Map<string, Source & { readonly seen: number }>();

  /** What the stack is given, in the place of `to`. */
  begin(read: Tuple, to: Tuple, now: number): Tuple {
    const given = { ...to, src: read.src, sport: read.sport };
    this.#sources.set(tupleText(given), { src: to.src, sport: to.sport, seen: now });
    return given;
  }

  /** What becomes of a packet that the stack sends; undefined when it is none of these. */
  finish(frame: Uint8Array, read: Read, now: number): Tuple | undefined {
    const source = maySplit(frame, read) ? this.#sources.get(tupleText(read)) : undefined;
    if (source === undefined || now - source.seen >= seconds) return undefined;
    const { proto, dst, dport } = read;
    return { proto, dst, dport, src: source.src, sport: source.sport };
  }
}
