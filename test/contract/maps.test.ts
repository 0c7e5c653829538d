// The native module's maps, against the running kernel: sizes are checked, errno becomes a code.
import t from 'tap';
import { native, type BpfMap } from '../../native/index.ts';
import { failure, makeMap, mapTypes, readU64, u32, u64 } from '../support/kernel/rawmaps.ts';

const mmapable = 1 << 10;
const noPrealloc = 1;
const noExist = 1;
const exist = 2;

/** Every row, by pages of `page`. */
function readAll(map: BpfMap, page: number): { key: number; value: bigint[] }[] {
  const { keySize } = map.info;
  const rows: { key: number; value: bigint[] }[] = [];
  let cursor: Uint8Array | undefined;
  do {
    const got = map.readBatch(cursor, page);
    const width = got.count === 0 ? 0 : got.values.length / got.count;
    for (let i = 0; i < got.count; i++) {
      const key = new DataView(got.keys.buffer, got.keys.byteOffset + i * keySize).getUint32(0, true);
      rows.push({ key, value: readU64(got.values.subarray(i * width, (i + 1) * width)) });
    }
    cursor = got.cursor;
  } while (cursor !== undefined);
  return rows.sort((a, b) => a.key - b.key);
}

t.test('maps: put, get, delete by flags and codes', async (t) => {
  for (const type of ['hash', 'lruHash'] as const) {
    const map = makeMap(type);
    t.equal(map.get(u32(1)), undefined, type);
    map.put(u32(1), u64(10n), noExist);
    t.same(readU64(map.get(u32(1)) ?? u64()), [10n]);
    t.match(
      failure(() => map.put(u32(1), u64(11n), noExist)),
      { code: 'EEXIST', errno: 17, syscall: 'bpf_map_update_elem' },
    );
    t.match(
      failure(() => map.put(u32(2), u64(11n), exist)),
      { code: 'ENOENT' },
    );
    map.put(u32(1), u64(12n), exist);
    t.equal(map.delete(u32(1)), true);
    t.equal(map.delete(u32(1)), false);
    map.close();
  }
  const array = makeMap('array');
  t.match(
    failure(() => array.put(u32(8), u64(1n))),
    { code: 'E2BIG' },
    'past the end',
  );
  t.equal(array.get(u32(8)), undefined);
  t.match(
    failure(() => array.delete(u32(0))),
    { code: 'EINVAL' },
    'rows of an array cannot be deleted',
  );
  const full = makeMap('hash', 2);
  full.putBatch(u32(1, 2), u64(1n, 2n), 2);
  t.match(
    failure(() => full.put(u32(3), u64(3n))),
    { code: 'E2BIG' },
    'full',
  );
  t.same(array.info, {
    ...array.info,
    type: 2,
    keySize: 4,
    valueSize: 8,
    maxEntries: 8,
    name: 'slb_test',
    flags: 0,
  });
});

t.test('maps: arguments of a wrong size or type are refused before the system call', async (t) => {
  const map = makeMap('hash');
  for (const wrong of [new Uint8Array(3), new Uint8Array(5), new Uint8Array(0)]) {
    t.throws(() => map.get(wrong), RangeError);
    t.throws(() => map.put(wrong, u64(1n)), RangeError);
    t.throws(() => map.put(u32(1), wrong), RangeError);
    t.throws(() => map.delete(wrong), RangeError);
    t.throws(() => map.readBatch(wrong, 1), RangeError);
    t.throws(() => map.putBatch(wrong, u64(1n, 2n), 2), RangeError);
    t.throws(() => map.deleteBatch(wrong, 2), RangeError);
  }
  t.throws(() => map.putBatch(u32(1), u64(1n), 2), RangeError, 'count beyond the rows');
  t.throws(() => map.putBatch(u32(1), u64(1n), -1), RangeError);
  t.throws(() => map.putBatch(u32(1), u64(1n), 0.5), RangeError);
  t.throws(() => map.readBatch(undefined, 0), RangeError);
  const anything = (value: unknown) => value as Uint8Array;
  for (const wrong of ['1234', 1234, undefined, null, new Uint32Array(1), new ArrayBuffer(4), {}]) {
    t.throws(() => map.get(anything(wrong)), TypeError);
  }
  const moved = u32(1);
  structuredClone(moved, { transfer: [moved.buffer] });
  t.throws(() => map.get(moved), RangeError, 'a detached buffer has no bytes');
  t.throws(() => map.pin('/sys/fs/bpf/a\0b'), RangeError);
});

t.test('maps: views into larger buffers, unaligned too', async (t) => {
  const map = makeMap('hash');
  const bytes = new Uint8Array(64);
  bytes.set(u32(77), 3);
  bytes.set(u64(78n), 13);
  map.put(bytes.subarray(3, 7), bytes.subarray(13, 21));
  t.same(readU64(map.get(u32(77)) ?? u64()), [78n]);
});

t.test('maps: batches and pages of every type', async (t) => {
  const count = 1000;
  const keys = Array.from({ length: count }, (_, i) => i);
  for (const type of ['hash', 'lruHash', 'array'] as const) {
    const map = makeMap(type, type === 'lruHash' ? 8192 : count);
    t.equal(map.putBatch(u32(...keys), u64(...keys.map((key) => BigInt(key) * 3n)), count), count, type);
    for (const page of [1, 7, 256, 5000]) {
      const rows = readAll(map, page);
      t.same(
        rows,
        keys.map((key) => ({ key, value: [BigInt(key) * 3n] })),
        `${type} by ${String(page)}`,
      );
    }
  }
  const map = makeMap('hash', count);
  t.equal(map.putBatch(u32(), u64(), 0), 0, 'nothing to put');
  t.same(readAll(map, 10), [], 'empty map');
  map.putBatch(u32(...keys), u64(...keys.map(BigInt)), count);
  t.equal(map.deleteBatch(u32(5000, 1, 2, 5001, 3, 1, 5002), 7), 3, 'missing keys are stepped over');
  t.equal(readAll(map, 100).length, count - 3);
  t.equal(map.deleteBatch(u32(...keys), count), count - 3);
  t.same(readAll(map, 100), []);
});

t.test('maps: a batch that does not fit reports how many rows were written', async (t) => {
  const map = makeMap('hash', 4, noPrealloc);
  const tooMany = failure(() => map.putBatch(u32(1, 2, 3, 4, 5, 6), u64(1n, 2n, 3n, 4n, 5n, 6n), 6));
  t.match(tooMany, { code: 'E2BIG', done: 4, syscall: 'bpf_map_update_batch' });
  t.equal(readAll(map, 10).length, 4);
});

t.test('maps: per-CPU values have a slot for each possible CPU', async (t) => {
  const cpus = native().possibleCpus();
  const values = Array.from({ length: cpus }, (_, i) => BigInt(i + 1));
  for (const type of ['percpuArray', 'percpuHash'] as const) {
    const map = makeMap(type);
    t.equal(map.info.valueSize, 8);
    map.put(u32(3), u64(...values));
    t.same(readU64(map.get(u32(3)) ?? u64()), values, type);
    t.throws(() => map.put(u32(3), u64(...values, 1n)), RangeError);
    t.match(
      readAll(map, 3).find(({ key }) => key === 3),
      { value: values },
    );
  }
});

t.test('maps: LPM tries are read without batches on older kernels', async (t) => {
  const options = { name: 'slb_trie', type: mapTypes.lpmTrie, keySize: 8, valueSize: 8, maxEntries: 8 };
  const map = native().createMap({ ...options, flags: noPrealloc });
  const keys = [u32(32, 1), u32(32, 2), u32(8, 3)];
  for (const [i, key] of keys.entries()) map.put(key, u64(BigInt(i)));
  t.equal(readAll(map, 2).length, keys.length);
});

t.test('maps: memory-mapped arrays are shared in both directions', async (t) => {
  const map = makeMap('array', 1000, mmapable);
  const memory = new BigUint64Array(map.mmap());
  t.equal(memory.length, 1000);
  map.put(u32(7), u64(70n));
  t.equal(memory[7], 70n);
  memory[999] = 5n;
  t.same(readU64(map.get(u32(999)) ?? u64()), [5n]);
  const again = new BigUint64Array(map.mmap());
  map.close();
  memory[1] = 11n;
  t.equal(again[1], 11n, 'both views outlive the handle');
  t.match(
    failure(() => makeMap('array').mmap()),
    { code: 'EINVAL' },
  );
});

t.test('maps: frozen maps refuse writes', async (t) => {
  const map = makeMap('array');
  map.freeze();
  t.match(
    failure(() => map.put(u32(0), u64(1n))),
    { code: 'EPERM' },
  );
});
