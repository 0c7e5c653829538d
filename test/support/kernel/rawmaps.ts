// What the contract tests of the native module share: maps of any type, packed rows, failures as values.
import { native, type BpfMap, type NativeError } from '../../../native/index.ts';

export const mapTypes = {
  hash: 1,
  array: 2,
  percpuHash: 5,
  percpuArray: 6,
  lruHash: 9,
  lpmTrie: 11,
} as const;

export const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
export const u64 = (...values: bigint[]) => new Uint8Array(BigUint64Array.from(values).buffer);
export const readU64 = (bytes: Uint8Array) => [
  ...new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)),
];

export function makeMap(type: keyof typeof mapTypes, entries = 8, flags = 0): BpfMap {
  const options = { name: 'slb_test', keySize: 4, valueSize: 8, maxEntries: entries, flags };
  return native().createMap({ ...options, type: mapTypes[type] });
}

/** What the call throws; {} when it throws nothing. */
export function failure(call: () => unknown): Partial<NativeError> {
  try {
    call();
  } catch (error) {
    return error as NativeError;
  }
  return {};
}
