// Keeps maps that have more rows in use than their new size: a row that is not copied would be a lost connection, or a
// Service that is not served. The larger map costs memory only.
import type { BpfMap } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { isArray, isBlank, readPages, writers } from './carry.ts';

/** A map that keeps its larger size. */
export interface Oversized {
  readonly map: MapName;
  readonly error: SluiceError;
}

/** Part of the rows that must be free: programs add rows while others are counted and copied. */
const roomLeft = 0.2;

/** undefined when the rows in use fit into a map of `rows`. */
export function findOversized(name: MapName, map: BpfMap, rows: number): Oversized | undefined {
  const { maxEntries } = map.info;
  const writer = writers[name];
  if (rows >= maxEntries || writer === 'nothing') return undefined;
  const used = isArray(map) ? lastUsed(map) : countRows(map);
  const room = isArray(map) || writer === 'agent' ? rows : Math.floor(rows * (1 - roomLeft));
  if (used <= room) return undefined;
  const detail = `${name}: ${String(used)} rows are in use, ${String(rows)} are wanted: it keeps ${String(maxEntries)}`;
  return { map: name, error: new SluiceError('SLB_E_MAP_IN_USE', detail) };
}

function countRows(map: BpfMap): number {
  let rows = 0;
  for (const { count } of readPages(map)) rows += count;
  return rows;
}

/** One more than the index of the last row that was ever written. */
function lastUsed(map: BpfMap): number {
  let last = 0;
  let first = 0;
  for (const { values, count } of readPages(map)) {
    const size = values.length / Math.max(count, 1);
    const isUsed = (row: number): boolean => !isBlank(values.subarray((row - 1) * size, row * size));
    let row = isBlank(values) ? 0 : count;
    while (row > 0 && !isUsed(row)) row--;
    if (row > 0) last = first + row;
    first += count;
  }
  return last;
}
