// Reads and writes rows of a BPF map in batches: large enough to save system calls, small enough not to block the loop.
import { native, type BpfMap, type NativeError } from '../../native/index.ts';
import { SluiceError, messageOf } from '../errors.ts';
import type { Encode } from './rows.ts';

export const batchRows = 4096;

export interface Page {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** A row that can never be written: retries would not help, and must not delay other rows. */
export interface RefusedRow<Row> {
  readonly map: string;
  readonly row: Row;
  readonly reason: string;
}

/**
 * Writes rows in batches. Returns the rows that cannot be encoded or that the kernel refuses for their content; all
 * others are written. Throws SLB_E_MAP or SLB_E_MAP_FULL for other failures, with earlier rows written; it may be
 * called again.
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
      if (!isPermanent(error)) throw error;
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
      if (!isPermanent(error)) throw error;
      refused.push({ map: map.info.name, row, reason: messageOf(error) });
    }
  }
  return refused;
}

/** E2BIG: the map is full of unknown rows, or the index is beyond its end. */
const permanentCodes = ['EINVAL', 'E2BIG', 'ERANGE', 'EOVERFLOW'];

/** Whether a retry cannot help. Errors of encoding are no SluiceError: the row is the cause. */
function isPermanent(error: unknown): boolean {
  if (!(error instanceof SluiceError)) return true;
  return permanentCodes.includes((error.cause as Partial<NativeError> | undefined)?.code ?? '');
}

/** Sets rows of a per-CPU array to zeros, on all CPUs. Rows beyond its end are skipped. */
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

/** Whether the row could be encoded. One that could not was never written. */
export function hasEncoding<Row>(row: Row, encode: Encode<Row>, bytes: Uint8Array, offset: number): boolean {
  try {
    encode(row, bytes, offset);
    return true;
  } catch {
    return false;
  }
}

/** All rows, in pages, so that the reader may yield in between. Rows of an array come in the order of their indexes. */
export function* readPages(map: BpfMap, pageRows = batchRows): Generator<Page> {
  let cursor: Uint8Array | undefined;
  do {
    const from = cursor;
    const page = guarded(map, () => map.readBatch(from, pageRows));
    yield page;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

/** Runs a map operation; its errors become SLB_E_MAP or SLB_E_MAP_FULL, with the name of the map. */
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

/** Writes 32 bits in host byte order, as array indexes and ids are. */
export function writeWord(bytes: Uint8Array, offset: number, word: number): void {
  wordBuffer[0] = word;
  bytes.set(wordBytes, offset);
}

const wordBuffer = new Uint32Array(1);
const wordBytes = new Uint8Array(wordBuffer.buffer);
