// slb_seed: what is mixed into the hash that backends are chosen by (S-83). All nodes must agree on it, so it comes from what all
// of them see, and is kept where an agent finds it that cannot ask.
import { createHash } from 'node:crypto';
import type { BpfMap } from '../../native/index.ts';
import { writeWord } from './bpfmap.ts';

/** The API server makes this Service, and every proxy may read it: its uid tells one cluster from another. */
export const clusterService = 'default/kubernetes';

const word = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4);
  writeWord(bytes, 0, value);
  return bytes;
};
const firstRow = word(0);

/** 32 bits of a text. */
export function seedOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32LE();
}

export interface Known {
  /** An operator's choice. */
  readonly chosen: string | undefined;
  /** The uid of the cluster's own Service; "" or undefined when it is not known, as with a folder of manifests. */
  readonly uid: string | undefined;
  /** Whether the source can know it: while it does not, an earlier agent's seed holds. */
  readonly expected: boolean;
}

/** Sees to it that the row is right; true when it was not. Call it before rows of services are written. */
export function updateSeed(map: BpfMap, { chosen, uid = '', expected }: Known): boolean {
  const text = chosen ?? uid;
  if (text === '' && expected) return false;
  const wanted = word(text === '' ? 0 : seedOf(text));
  if (Buffer.compare(map.get(firstRow) ?? new Uint8Array(), wanted) === 0) return false;
  map.put(firstRow, wanted);
  return true;
}
