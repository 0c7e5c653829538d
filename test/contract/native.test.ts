// What the native module promises, against the running kernel: sizes are checked, errno is a code, handles close.
import t from 'tap';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { native, type BpfMap, type BpfProgram, type NativeError } from '../../native/index.ts';
import { compileFixture } from '../support/fixtures.ts';
import { bpffsRoot, cgroupRoot, ownName, sweepOnExit } from '../support/owner.ts';

const mapTypes = {
  hash: 1,
  array: 2,
  percpuHash: 5,
  percpuArray: 6,
  lruHash: 9,
  lpmTrie: 11,
  ringbuf: 27,
} as const;
const mmapable = 1 << 10;
const noPrealloc = 1;
const noExist = 1;
const exist = 2;

const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const u64 = (...values: bigint[]) => new Uint8Array(BigUint64Array.from(values).buffer);
const readU64 = (bytes: Uint8Array) => [
  ...new BigUint64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)),
];

function makeMap(type: keyof typeof mapTypes, entries = 8, flags = 0): BpfMap {
  const options = { name: 'slb_test', keySize: 4, valueSize: 8, maxEntries: entries, flags };
  return native().createMap({ ...options, type: mapTypes[type] });
}

function failure(call: () => unknown): Partial<NativeError> {
  try {
    call();
  } catch (error) {
    return error as NativeError;
  }
  return {};
}

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

sweepOnExit();
const pins = join(bpffsRoot, ownName('native'));
mkdirSync(pins);
t.teardown(() => rmSync(pins, { recursive: true, force: true }));
const pinAt = (name: string) => join(pins, name);
const elf = await compileFixture('native');
const modulePath =
  process.env['SLUICE_NATIVE'] ?? new URL('../../native/build/Release/sluice.node', import.meta.url).pathname;

function openLoaded(answer = 2) {
  const object = native().openObject(elf, 'fixture');
  object.setInitialValue('.rodata.fx', u32(answer, 0));
  object.setAutoload('fx_refused', false);
  object.load();
  return object;
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

t.test('maps: nothing of a wrong size or type reaches the kernel', async (t) => {
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

t.test('maps: a batch that does not fit tells how far it came', async (t) => {
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

t.test('maps: LPM tries have no batches on older kernels, and are read all the same', async (t) => {
  const options = { name: 'slb_trie', type: mapTypes.lpmTrie, keySize: 8, valueSize: 8, maxEntries: 8 };
  const map = native().createMap({ ...options, flags: noPrealloc });
  const keys = [u32(32, 1), u32(32, 2), u32(8, 3)];
  for (const [i, key] of keys.entries()) map.put(key, u64(BigInt(i)));
  t.equal(readAll(map, 2).length, keys.length);
});

t.test('maps: mapped memory is the map, in both directions', async (t) => {
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

t.test('maps: frozen ones refuse user space', async (t) => {
  const map = makeMap('array');
  map.freeze();
  t.match(
    failure(() => map.put(u32(0), u64(1n))),
    { code: 'EPERM' },
  );
});

t.test('pins: another process finds the same map', async (t) => {
  const map = makeMap('hash');
  map.put(u32(1), u64(2n));
  map.pin(pinAt('map'));
  t.match(
    failure(() => map.pin(pinAt('map'))),
    { code: 'EEXIST', syscall: 'bpf_obj_pin' },
  );
  const opened = native().openPinnedMap(pinAt('map'));
  t.equal(opened.info.id, map.info.id);
  t.same(readU64(opened.get(u32(1)) ?? u64()), [2n]);
  t.match(
    failure(() => native().openPinnedMap(pinAt('none'))),
    { code: 'ENOENT', syscall: 'bpf_obj_get' },
  );
  t.match(
    failure(() => native().openPinnedLink(pinAt('map'))),
    { code: 'EINVAL', message: /of another kind/ },
    'a map is no link',
  );
});

t.test('handles: closed, foreign and forged ones are refused', async (t) => {
  const map = makeMap('hash');
  map.close();
  map.close();
  t.match(
    failure(() => map.get(u32(1))),
    { code: 'EBADF' },
  );
  t.match(
    failure(() => map.mmap()),
    { errno: Number },
  );
  const other = makeMap('hash');
  const program = openLoaded().program('fx_xdp');
  t.throws(() => native().attachTcx(other as unknown as BpfProgram, 1, 'ingress'), TypeError);
  t.throws(() => native().openRingBuffer(program as unknown as BpfMap, () => undefined), TypeError);
  const forged = Object.create(Object.getPrototypeOf(other) as object) as BpfMap;
  t.throws(() => forged.get(u32(1)), 'no native part behind it');
  t.throws(() => Reflect.construct(other.constructor as new () => unknown, []), TypeError);
  t.throws(() => native().attachTcx(program, 1, 'sideways' as 'ingress'), RangeError);
  t.throws(() => native().attachXdp(program, -1, 'native'), RangeError);
});

t.test('objects: declared, configured, loaded', async (t) => {
  const object = native().openObject(elf, 'fixture');
  t.same(object.maps().sort(), ['.rodata.fx', 'fx_map', 'fx_ring']);
  t.same(object.programs().sort(), ['fx_connect', 'fx_refused', 'fx_tc', 'fx_xdp']);
  t.match(object.definition('fx_map'), { id: 0, type: 1, keySize: 4, valueSize: 8, maxEntries: 8 });
  t.throws(() => object.setInitialValue('.rodata.fx', u32(1)), RangeError);
  t.match(
    failure(() => object.setInitialValue('fx_map', u32(1))),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => object.definition('none')),
    { code: 'ENOENT' },
  );
  t.match(
    failure(() => object.map('fx_map')),
    { code: 'EBADF' },
    'before load',
  );
  t.match(
    failure(() => object.reuseMap('fx_map', makeMap('array'))),
    { code: 'EINVAL' },
  );
  const shared = native().createMap({ type: 1, name: 'fx_map', keySize: 4, valueSize: 8, maxEntries: 100 });
  object.reuseMap('fx_map', shared);
  object.setAutoload('fx_refused', false);
  object.load();
  const program = object.program('fx_xdp');
  t.equal(object.map('fx_map').info.id, shared.info.id, 'reused');
  object.close();
  t.match(
    failure(() => object.maps()),
    { code: 'EBADF' },
  );
  t.equal(program.name, 'fx_xdp');
  t.ok(program.id > 0, 'programs outlive their object');
  const garbage = failure(() => native().openObject(new Uint8Array(100), 'garbage'));
  t.match(garbage, { code: 'ELIBBPF', message: /not a proper ELF object/ });
});

t.test("objects: the verifier's reason in the message, its whole log beside it", async (t) => {
  const object = native().openObject(elf, 'fixture');
  const refused = failure(() => object.load());
  t.match(refused, { code: 'EACCES', syscall: 'bpf_object__load' });
  t.match(refused.message, /'fx_refused'.*R\d invalid mem access 'map_value_or_null'$/);
  t.match(refused.log, /processed \d+ insns/);
});

t.test('programs: test runs', async (t) => {
  const packet = Uint8Array.from({ length: 64 }, (_, i) => i);
  const grown = openLoaded(2).program('fx_xdp').testRun({ data: packet });
  t.equal(grown.retval, 2);
  t.equal(grown.data.length, 68, 'the packet may grow');
  t.same([...grown.data.subarray(4)], [...packet]);
  t.equal(openLoaded(1).program('fx_xdp').testRun({ data: packet }).retval, 1, 'configured by .rodata');

  const object = openLoaded();
  const program = object.program('fx_tc');
  t.ok(program.verifiedInstructions >= 0);
  const context = new Uint8Array(192);
  const ran = program.testRun({ data: packet, context, repeat: 10, cpu: 0 });
  t.equal(new DataView((ran.context ?? context).buffer).getUint32(8, true), 7, 'skb->mark');
  t.equal(context[8], 0, 'the context given is not written to');
  t.ok(ran.duration >= 0);
  t.match(
    failure(() => program.testRun({ data: packet, outSize: 10 })),
    { code: 'ENOSPC' },
  );
  t.match(
    failure(() => program.testRun({ data: packet, cpu: 100000 })),
    { code: 'EINVAL' },
  );
  t.match(
    failure(() => program.testRun({ data: new Uint8Array(3) })),
    { code: 'EINVAL' },
  );
  program.pin(pinAt('program'));
  t.equal(native().openPinnedProgram(pinAt('program')).id, program.id);
  t.throws(() => native().loadProgram({ type: 3, name: 'x', instructions: new Uint8Array(7) }), RangeError);
});

t.test('ring buffer: records in batches, in order, views of one buffer', async (t) => {
  const object = openLoaded();
  const program = object.program('fx_tc');
  const batches: Uint8Array[][] = [];
  const ring = native().openRingBuffer(object.map('fx_ring'), (records) => batches.push(records));
  t.teardown(() => ring.close());
  for (let size = 100; size < 400; size++) program.testRun({ data: new Uint8Array(size) });
  while (batches.flat().length < 300) await nextTurn();
  t.ok(batches.length < 300, 'more than one record a call');
  t.same(
    batches.flat().flatMap(readU64),
    Array.from({ length: 300 }, (_, i) => BigInt(100 + i)),
  );
  t.equal(batches[0]?.[0]?.buffer, batches[0]?.[1]?.buffer);
  ring.close();
  ring.close();
  t.match(
    failure(() => native().openRingBuffer(makeMap('hash'), () => undefined)),
    { code: 'EINVAL' },
  );
});

t.test('watchers may be closed from within their own callback', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const object = openLoaded();
  const program = object.program('fx_tc');
  const batches: number[] = [];
  let ring: { close(): void } | undefined = native().openRingBuffer(object.map('fx_ring'), (records) => {
    batches.push(records.length);
    ring?.close();
    ring = undefined;
    collect(); // nothing in JavaScript holds the handle any more, yet its native part is running
  });
  for (let i = 0; i < 3; i++) program.testRun({ data: new Uint8Array(100) });
  while (batches.length === 0) await nextTurn();
  program.testRun({ data: new Uint8Array(100) });
  for (let i = 0; i < 10; i++) await nextTurn();
  t.same(batches, [3], 'once, and never again');
});

t.test('what a callback throws is an uncaught exception, not a crash', async (t) => {
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    const native = require(workerData.module);
    const object = native.openObject(workerData.elf, 'fixture');
    object.setAutoload('fx_refused', false);
    object.load();
    native.openRingBuffer(object.map('fx_ring'), () => { throw new RangeError('from the callback'); });
    object.program('fx_tc').testRun({ data: new Uint8Array(100) });`;
  const worker = new Worker(code, { eval: true, workerData: { module: modulePath, elf } });
  const error = await new Promise<Error>((resolve) => worker.once('error', resolve));
  t.match(error, { name: 'RangeError', message: 'from the callback' });
});

t.test('links: a cgroup program sees a connect, its successor is put in its place', async (t) => {
  const root = cgroupRoot();
  if (root === undefined) throw new Error('no cgroup v2');
  const folder = mkdtempSync(join(root, ownName('native')));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const connect4 = 10; // BPF_CGROUP_INET4_CONNECT
  const first = openLoaded().program('fx_connect');
  const link = native().attachCgroup(first, folder, connect4);
  t.equal(link.programId, first.id);
  t.equal(link.ifindex, 0, 'not on a device');
  link.pin(pinAt('link'));
  const next = openLoaded().program('fx_connect');
  const opened = native().openPinnedLink(pinAt('link'));
  opened.update(next);
  t.equal(link.programId, next.id);
  t.equal(opened.id, link.id);
  opened.detach();
  t.match(
    failure(() => native().attachCgroup(first, join(folder, 'none'), connect4)),
    { code: 'ENOENT', syscall: 'open' },
  );
  t.match(
    failure(() => native().attachCgroup(openLoaded().program('fx_xdp'), folder, connect4)),
    { code: 'EINVAL' },
  );
  link.close();
  t.match(
    failure(() => link.id),
    { code: 'EBADF' },
  );
});

t.test('devices, addresses and routes of this namespace', async (t) => {
  const lo = native()
    .devices()
    .find(({ name }) => name === 'lo');
  t.match(lo, { arpType: 772, physical: false, peerElsewhere: false, master: 0, kind: '' });
  t.match(
    native()
      .addresses()
      .filter(({ index }) => index === lo?.index),
    [{ address: '127.0.0.1', prefix: 8, scope: 254 }],
  );
  t.ok(
    native()
      .defaultRouteDevices()
      .every((index) =>
        native()
          .devices()
          .some((device) => device.index === index),
      ),
  );
  t.equal(native().queryClsact(lo?.index ?? 0, 'ingress', 77, 77), 0);
  t.equal(native().detachClsact(lo?.index ?? 0, 'egress', 77, 77), false);
});

t.test('a worker that ends with watchers open takes nobody with it', async (t) => {
  const code = `
    const native = require(${JSON.stringify(modulePath)});
    native.monitorLinks(() => undefined);
    const map = native.createMap({ type: 27, name: 'ring', keySize: 0, valueSize: 0, maxEntries: 4096 });
    native.openRingBuffer(map, () => undefined);
    native.createMap({ type: 2, name: 'array', keySize: 4, valueSize: 4, maxEntries: 4, flags: 1024 }).mmap();
    require('node:worker_threads').parentPort.postMessage('open');`;
  const worker = new Worker(code, { eval: true });
  await new Promise((resolve) => worker.once('message', resolve));
  t.equal(await worker.terminate(), 1);
  t.ok(native().possibleCpus() > 0, 'this thread goes on');
});
