// Fragments of a datagram (S-85): the ports that its first one left, and those that came before it.
import type { Read } from './read.ts';

interface Ports {
  readonly sport: number;
  readonly dport: number;
  /** The first one went by the stack, to be fragmented further: so do the others. */
  readonly split: boolean;
}

const seconds = 30; // then ids may be used again
const waiting = 64; // fragments of a datagram
const longest = 2040; // bytes of a frame that may wait

const keyOf = ({ src, dst, proto, fragment }: Read): string =>
  `${src} ${dst} ${String(proto)} ${String(fragment?.id)}`;

export class Fragments {
  readonly #ports = new Map<string, Ports & { readonly seen: number }>();
  /** When each came. */
  readonly #early = new Map<string, number[]>();

  note(read: Read, now: number, split = false): void {
    this.#ports.set(keyOf(read), { sport: read.sport, dport: read.dport, split, seen: now });
  }

  portsOf(read: Read, now: number): Ports | undefined {
    const ports = this.#ports.get(keyOf(read));
    return ports === undefined || now - ports.seen >= seconds ? undefined : ports;
  }

  /** False when there is no room for it. */
  keep(read: Read, frame: Uint8Array, now: number): boolean {
    const early = this.#early.get(keyOf(read)) ?? [];
    const free = early.findIndex((seen) => now - seen >= seconds);
    if (frame.length > longest || (free < 0 && early.length === waiting)) return false;
    if (free < 0) early.push(now);
    else early[free] = now;
    this.#early.set(keyOf(read), early);
    return true;
  }

  /** Whether some were kept; they are no more. */
  take(read: Read): boolean {
    return this.#early.delete(keyOf(read));
  }
}
