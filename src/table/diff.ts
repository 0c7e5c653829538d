// The difference between wanted and present rows of one service port. Backend lists are sorted, so it is one merge.
import type { WantedBackend } from './desired.ts';
import { rangeKey, sameBackend, type BackendRow, type RangeRow } from './rows.ts';

export interface BackendDiff {
  /** Every wanted row, in order. */
  readonly rows: readonly BackendRow[];
  /** Of these, the ones that are new or changed. */
  readonly put: readonly BackendRow[];
  readonly gone: readonly BackendRow[];
}

/** `newId` is called once for every new backend. */
export function diffBackends(
  before: readonly BackendRow[],
  wanted: readonly WantedBackend[],
  owner: { readonly service: number; readonly proto: number },
  newId: () => number,
): BackendDiff {
  const diff = { rows: [] as BackendRow[], put: [] as BackendRow[], gone: [] as BackendRow[] };
  let index = 0;
  for (const want of wanted) {
    while (index < before.length && compare(before[index]!, want) < 0) diff.gone.push(before[index++]!);
    const old = before[index];
    const known = old !== undefined && compare(old, want) === 0 ? old : undefined;
    if (known !== undefined) index++;
    const row: BackendRow = { id: known?.id ?? newId(), ...owner, ...want };
    const same = known !== undefined && sameBackend(known, row);
    diff.rows.push(same ? known : row);
    if (!same) diff.put.push(row);
  }
  diff.gone.push(...before.slice(index));
  return diff;
}

interface Located {
  readonly address: string;
  readonly port: number;
}

/** The order of the model's endpoint lists. */
export function compare(a: Located, b: Located): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port;
}

export interface RangeDiff {
  readonly rows: readonly RangeRow[];
  readonly put: readonly RangeRow[];
  readonly gone: readonly RangeRow[];
}

export function diffRanges(before: readonly RangeRow[], wanted: readonly RangeRow[]): RangeDiff {
  if (before.length + wanted.length === 0) return noRanges; // nearly all
  const had = new Set(before.map(rangeKey));
  const has = new Set(wanted.map(rangeKey));
  return {
    rows: wanted,
    put: wanted.filter((row) => !had.has(rangeKey(row))),
    gone: before.filter((row) => !has.has(rangeKey(row))),
  };
}

const noRanges: RangeDiff = { rows: [], put: [], gone: [] };
