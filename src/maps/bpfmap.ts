// Many rows at a time, in and out of a BPF map: batches of a size that neither wastes system calls nor holds up the loop.
import { native, type BpfMap, type NativeError } from '../../native/index.ts';
import { SluiceError, messageOf } from '../errors.ts';
import type { Encode } from './rows.ts';

export const batchRows = 4096;

export interface Page {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** A row that cannot be written, now or later: trying again would not help, and must not hold up the others. */
export interface RefusedRow<Row> {
  readonly map: string;
  readonly row: Row;
  readonly reason: string;
}

/**
 * Writes rows packed by these two, in batches. What has no encoding, or is refused by the kernel for what it is, is left out and returned. Any
 * other failure leaves the rows before it written; writing again is harmless.
 */
export function putRows<Row>(
  map: BpfMap,
  rows: readonly Row[],
  encodeKey: Encode<Row>,
  encodeValue: Encode<Row>,
): readonly RefusedRow<Row>[] {
  const refused: RefusedRow<Row>[] = [];
  for (let start = 0; start < rows.length; start += batchRows) {
    const some = rows.slice(start, start + batchRows);
    try {
      putBatch(map, some, encodeKey, encodeValue);
    } catch (error) {
      if (!isForGood(error)) throw error;
      refused.push(...putSingly(map, some, encodeKey, encodeValue));
    }
  }
  return refused;
}

function putBatch<Row>(
  map: BpfMap,
  rows: readonly Row[],
  encodeKey: Encode<Row>,
  encodeValue: Encode<Row>,
): void {
  const { keySize, valueSize } = map.info;
  const keys = new Uint8Array(rows.length * keySize);
  const values = new Uint8Array(rows.length * valueSize);
  for (const [i, row] of rows.entries()) {
    encodeKey(row, keys, i * keySize);
    encodeValue(row, values, i * valueSize);
  }
  guarded(map, () => map.putBatch(keys, values, rows.length));
}

function putSingly<Row>(
  map: BpfMap,
  rows: readonly Row[],
  encodeKey: Encode<Row>,
  encodeValue: Encode<Row>,
): readonly RefusedRow<Row>[] {
  const refused: RefusedRow<Row>[] = [];
  for (const row of rows) {
    try {
      putBatch(map, [row], encodeKey, encodeValue);
    } catch (error) {
      if (!isForGood(error)) throw error;
      refused.push({ map: map.info.name, row, reason: messageOf(error) });
    }
  }
  return refused;
}

/** E2BIG: a map that is full of rows that are not ours, or an index beyond its end. */
const codesForGood = ['EINVAL', 'E2BIG', 'ERANGE', 'EOVERFLOW'];

/** What encoding throws has no code: it is always the row. */
function isForGood(error: unknown): boolean {
  if (!(error instanceof SluiceError)) return true;
  return codesForGood.includes((error.cause as Partial<NativeError> | undefined)?.code ?? '');
}

/** Sets rows of a per-CPU array to zeros, on every CPU. Rows beyond its end are none. */
export function clearRows(map: BpfMap, all: readonly number[]): undefined {
  const rows = all.filter((row) => row < map.info.maxEntries);
  const bytesPerRow = Math.ceil(map.info.valueSize / 8) * 8 * native().possibleCpus();
  for (let start = 0; start < rows.length; start += batchRows) {
    const keys = Uint32Array.from(rows.slice(start, start + batchRows));
    const values = new Uint8Array(keys.length * bytesPerRow);
    guarded(map, () => map.putBatch(new Uint8Array(keys.buffer), values, keys.length));
  }
}

export function deleteRows<Row>(map: BpfMap, rows: readonly Row[], encodeKey: Encode<Row>): undefined {
  const { keySize } = map.info;
  for (let start = 0; start < rows.length; start += batchRows) {
    const count = Math.min(batchRows, rows.length - start);
    const keys = new Uint8Array(count * keySize);
    let encoded = 0;
    for (const row of rows.slice(start, start + count))
      if (hasEncoding(row, encodeKey, keys, encoded * keySize)) encoded++;
    guarded(map, () => map.deleteBatch(keys.subarray(0, encoded * keySize), encoded));
  }
}

/** What has no encoding was never written. */
export function hasEncoding<Row>(row: Row, encode: Encode<Row>, bytes: Uint8Array, offset: number): boolean {
  try {
    encode(row, bytes, offset);
    return true;
  } catch {
    return false;
  }
}

/** All rows, a page at a time, so that the reader may pause between pages. Rows of an array come in order from 0. */
export function* readPages(map: BpfMap, pageRows = batchRows): Generator<Page> {
  let cursor: Uint8Array | undefined;
  do {
    const from = cursor;
    const page = guarded(map, () => map.readBatch(from, pageRows));
    yield page;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

/** Runs a map operation; what it throws becomes a coded error that names the map. */
export function guarded<T>(map: BpfMap, operation: () => T): T {
  try {
    return operation();
  } catch (error) {
    const full = (error as Partial<NativeError>).code === 'E2BIG';
    throw new SluiceError(full ? 'SLB_E_MAP_FULL' : 'SLB_E_MAP', `${map.info.name}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** Host byte order, as the kernel reads array indexes and ids. */
export function writeWord(bytes: Uint8Array, offset: number, word: number): void {
  wordBuffer[0] = word;
  bytes.set(wordBytes, offset);
}

const wordBuffer = new Uint32Array(1);
const wordBytes = new Uint8Array(wordBuffer.buffer);
