// The hash that every node agrees on: MurmurHash3's round and finish over words as they lie in memory, begun with the
// protocol and the cluster's seed. Of the 5-tuple: source and destination by turns, then both ports. Of a client: its
// address alone.
import { parseAddress, familyOf } from '../../../src/net/ip.ts';
import type { Tuple } from './read.ts';

function round(hash: number, word: number): number {
  let mixed = Math.imul(word, 0xcc9e2d51);
  mixed = (mixed << 15) | (mixed >>> 17);
  const joined = hash ^ Math.imul(mixed, 0x1b873593);
  return (Math.imul((joined << 13) | (joined >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** An address as words of this machine. */
function words(address: string): Uint32Array {
  const mapped = parseAddress(address) ?? new Uint8Array(16);
  const bytes = familyOf(address) === 6 ? mapped : mapped.subarray(12);
  return new Uint32Array(bytes.slice().buffer);
}

const wire16 = (port: number): number => {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, port);
  return new Uint16Array(bytes.buffer)[0] ?? 0;
};

export function hashOfTuple({ proto, src, dst, sport, dport }: Tuple, seed: number): number {
  const [from, to] = [words(src), words(dst)];
  let hash = proto ^ seed;
  for (let i = 0; i < from.length; i++) hash = round(round(hash, from[i] ?? 0), to[i] ?? 0);
  return finish(round(hash, (wire16(sport) << 16) | wire16(dport)));
}

export function hashOfClient({ proto, src }: Tuple, seed: number): number {
  return finish(words(src).reduce(round, proto ^ seed));
}
