// slb_seed: the seed of the hash that chooses backends (S-83). All nodes must have the same, so it comes from a uid
// that all of them see. It stays in the map for an agent that starts while the API server does not answer.
import { createHash } from 'node:crypto';
import type { BpfMap } from '../../native/index.ts';
import { writeWord } from './bpfmap.ts';

/** The API server creates this Service; its uid differs between clusters. */
export const clusterService = 'default/kubernetes';

const word = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  writeWord(bytes, 0, value);
  return bytes;
};
const firstRow = word(0);

/** The first 32 bits of SHA-256, little-endian. */
export function seedOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32LE();
}

export interface Known {
  /** The text of --hash-seed. */
  readonly chosen: string | undefined;
  /** The uid of `clusterService`; "" or undefined when it is not known, as with --manifests. */
  readonly uid: string | undefined;
  /** Whether the uid will be known later: until then the seed of an earlier agent stays. */
  readonly expected: boolean;
}

/** Writes the seed if it differs; returns whether it did. Must be called before rows of services are written. */
export function updateSeed(map: BpfMap, { chosen, uid = '', expected }: Known): boolean {
  const text = chosen ?? uid;
  if (text === '' && expected) return false;
  const wanted = word(text === '' ? 0 : seedOf(text));
  if (Buffer.compare(map.get(firstRow) ?? new Uint8Array(), wanted) === 0) return false;
  map.put(firstRow, wanted);
  return true;
}
