// The native module without its maps, against the running kernel: handles, objects, programs, links, watchers.
import t from 'tap';
import { mkdirSync, rmSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { native, type BpfMap, type BpfProgram, type NativeError } from '../../native/index.ts';
import { buildObjects, objectFile, smallMaps } from '../support/kernel/bpfrun.ts';
import { compileFixture } from '../support/kernel/fixtures.ts';
import { Netns } from '../support/actors/netns.ts';
import { cgroupRoot, ownBpffs, ownName, sweepOnExit } from '../support/run/owner.ts';
import { run, until } from '../support/run/process.ts';
import { failure, makeMap, readU64, u32, u64 } from '../support/kernel/rawmaps.ts';
import { Sockets, type SocketName } from '../support/kernel/sockets.ts';

sweepOnExit();
const pins = ownBpffs('native');
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

t.test('objects: loaded on another thread, without blocking the event loop', async (t) => {
  buildObjects();
  const object = native().openObject(objectFile('tc'), 'tc'); // takes the verifier a while
  for (const [map, entries] of Object.entries(smallMaps)) object.setMaxEntries(map, entries);
  const loading = object.loadAsync();
  for (const act of [() => object.maps(), () => object.load(), () => object.program('slb_tc_in')])
    t.match(failure(act), { code: 'EBUSY', message: /being loaded/ });
  const state = { turns: 0, isDone: false };
  void loading.then(() => (state.isDone = true));
  for (; !state.isDone; state.turns++) await nextTurn();
  const { turns } = state;
  t.ok(turns > 0, `${turns} turns`);
  t.equal(object.program('slb_tc_in').name, 'slb_tc_in');
  object.close();

  const refused = native().openObject(elf, 'fixture');
  const error = await refused.loadAsync().catch((reason: unknown) => reason as NativeError);
  t.match(error, {
    code: 'EACCES',
    syscall: 'bpf_object__load',
    message: /'fx_refused'.*invalid mem access/,
  });
  t.match(error?.log, /processed \d+ insns/);
  t.doesNotThrow(() => refused.maps(), 'and is free again');

  const closed = native().openObject(elf, 'fixture');
  closed.setAutoload('fx_refused', false);
  const unwanted = closed.loadAsync();
  closed.close();
  t.match(
    failure(() => closed.maps()),
    { code: 'EBADF' },
  );
  await unwanted;
  t.throws(() => closed.loadAsync(), { code: 'EBADF' });
});

t.test("objects: the error has the verifier's reason, and its whole log apart", async (t) => {
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

t.test('a watcher may be closed in its own callback', async (t) => {
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

const connect4 = 10; // BPF_CGROUP_INET4_CONNECT

/** A cgroup of the test's own, empty; swept when the test ends. */
function makeCgroup(): string {
  const root = cgroupRoot();
  if (root === undefined) throw new Error('no cgroup v2');
  const folder = join(root, ownName('native'));
  mkdirSync(folder);
  return folder;
}

/** A program without an object that lets every connect pass. */
function loadConnect(): BpfProgram {
  const instructions = u64(0x0000_0001_0000_00b7n, 0x95n); // r0 = 1; exit
  const sockAddr = 18; // BPF_PROG_TYPE_CGROUP_SOCK_ADDR
  return native().loadProgram({
    type: sockAddr,
    name: 'fx_pass',
    instructions,
    expectedAttachType: connect4,
  });
}

t.test('links: a cgroup program is attached, found by its pin, replaced, detached', async (t) => {
  const folder = makeCgroup();
  const first = openLoaded().program('fx_connect');
  const link = native().attachCgroup(first, folder, connect4);
  t.equal(link.programId, first.id);
  t.equal(link.target, native().cgroupId(folder));
  link.pin(pinAt('link'));
  const next = openLoaded().program('fx_connect');
  const opened = native().openPinnedLink(pinAt('link'));
  opened.update(next);
  t.equal(link.programId, next.id);
  t.equal(opened.id, link.id);
  opened.detach();
  t.equal(link.target, 0, 'detached');
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

t.test('cgroups: attached programs, and exclusive ones', async (t) => {
  const folder = makeCgroup();
  const program = loadConnect();
  const listed = [{ id: program.id, name: 'fx_pass' }];
  t.same(native().queryCgroup(folder, connect4), { flags: 0, programs: [] });
  const link = native().attachCgroup(program, folder, connect4);
  t.same(native().queryCgroup(folder, connect4), { flags: 2, programs: listed }, 'BPF_F_ALLOW_MULTI');
  t.same(native().queryCgroup(folder, connect4 + 1).programs, [], 'of this type alone');
  link.detach();

  const alone = pinAt('alone');
  program.pin(alone);
  await run(['bpftool', 'cgroup', 'attach', folder, 'connect4', 'pinned', alone]);
  t.same(native().queryCgroup(folder, connect4), { flags: 0, programs: listed });
  t.match(
    failure(() => native().attachCgroup(loadConnect(), folder, connect4)),
    { code: 'EPERM', syscall: 'bpf_link_create' },
  );
  t.match(
    failure(() => native().queryCgroup('/proc', connect4)),
    { code: 'EBADF', syscall: 'bpf_prog_query' },
  );
});

t.test('cgroups: a link loses its target with the cgroup', async (t) => {
  const folder = makeCgroup();
  const link = native().attachCgroup(loadConnect(), folder, connect4);
  t.equal(link.target, native().cgroupId(folder));
  rmdirSync(folder);
  await until('the kernel to let go of it', () => link.target === 0);
  t.match(
    failure(() => native().cgroupId(folder)),
    { code: 'ENOENT', syscall: 'open' },
  );
  t.match(
    failure(() => native().cgroupId(pins)),
    { code: 'EINVAL', message: /is no cgroup v2/ },
  );
});

t.test('ids of cgroups and network namespaces are those that programs see', async (t) => {
  const folder = makeCgroup();
  const netns = await Netns.create('native');
  t.teardown(() => netns.close());
  const object = openLoaded();
  const link = native().attachCgroup(object.program('fx_connect'), folder, connect4);
  const code = `
    console.log(String(require(${JSON.stringify(modulePath)}).netnsCookie()));
    require('node:dgram').createSocket('udp4').connect(9, '127.0.0.1', function () { this.close(); });`;
  const join = ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$@"`, 'sh'];
  const inside = await netns.run([...join, process.execPath, '-e', code]);
  const seen = (key: number) => readU64(object.map('fx_map').get(u32(key)) ?? u64())[0];
  t.equal(seen(1), BigInt(native().cgroupId(folder)));
  t.equal(seen(2), BigInt(inside.stdout.trim()));
  t.ok(native().netnsCookie() > 0n);
  t.not(native().netnsCookie(), seen(2), 'another namespace, another number');
  link.close();
});

t.test('network namespaces: cookies by path', async (t) => {
  const netns = await Netns.create('native');
  t.teardown(() => netns.close());
  const paths = ['/proc/self/ns/net', netns.path, `${netns.path}-none`, '/proc/version', netns.path];
  const [own, there, ...others] = await native().netnsCookies(paths);
  t.equal(own, native().netnsCookie());
  t.not(there, own);
  t.same(others, [0n, 0n, there], 'none, no namespace, the same again');
  t.throws(() => native().netnsCookies('/proc/self/ns/net' as unknown as string[]), TypeError);
});

t.test('probe whether the kernel can destroy sockets', (t) => {
  t.equal(native().canDestroySockets(), true);
  t.end();
});

t.test('sockets of another namespace are destroyed, and no others', async (t) => {
  const netns = await Netns.create('native');
  t.teardown(() => netns.close());
  const sockets = await Sockets.open(netns);
  t.teardown(() => sockets.close());
  const destroy = async (protocol: 6 | 17, family: 4 | 6, ...names: SocketName[]): Promise<number> => {
    const cookies = sockets.cookies(...names);
    return (await native().destroySockets({ netns: netns.path, protocol, family, cookies })).destroyed;
  };
  t.equal(await destroy(17, 4, 'udp6', 'mapped', 'other tcp4'), 0, 'of another family or protocol');
  t.equal(await destroy(17, 4, 'udp4'), 1);
  t.equal(await destroy(17, 6, 'udp6', 'mapped', 'udp4'), 2, 'mapped addresses are those of an IPv6 socket');
  t.equal(await destroy(6, 4, 'tcp4'), 1);
  t.equal(await destroy(6, 6, 'tcp6'), 1);
  t.equal(await destroy(17, 4, 'udp4'), 0, 'once is enough');
  t.equal(await destroy(17, 4, 'bound udp4'), 1);
  t.equal(await destroy(17, 4, 'bound udp4'), 0, 'although it keeps its port, and is listed as before');
  const disconnected = ['ECONNABORTED', 'EDESTADDRREQ'];
  const aborted = ['ECONNABORTED', 'EPIPE'];
  t.same(await sockets.outcomes(), {
    udp4: disconnected,
    'bound udp4': disconnected,
    udp6: disconnected,
    mapped: disconnected,
    tcp4: aborted,
    tcp6: aborted,
    'other udp4': ['EAGAIN', 'done'],
    'other tcp4': ['EAGAIN', 'done'],
  });
});

t.test('destroying sockets leaves no thread in another namespace', async (t) => {
  const netns = await Netns.create('native');
  t.teardown(() => netns.close());
  const nothing = { protocol: 17, family: 4, cookies: new BigUint64Array() } as const;
  const [there] = await native().netnsCookies([netns.path]);
  const many = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      native().destroySockets(i % 2 === 0 ? nothing : { ...nothing, netns: netns.path }),
    ),
  );
  const own = native().netnsCookie();
  t.same(
    many,
    many.map((_, i) => ({ destroyed: 0, cookieOfNetns: i % 2 === 0 ? own : there })),
  );

  const noNetns = join(pins, 'none');
  await t.rejects(native().destroySockets({ ...nothing, netns: noNetns }), {
    syscall: 'open',
    code: 'ENOENT',
    message: new RegExp(noNetns),
  });
  await t.rejects(native().destroySockets({ ...nothing, netns: '/proc/version' }), {
    syscall: 'setns',
    code: 'EINVAL',
  });
  t.throws(() => native().destroySockets({ ...nothing, protocol: 1 as 6 }), RangeError);
  t.throws(() => native().destroySockets({ ...nothing, family: 10 as 6 }), RangeError);
  t.throws(
    () => native().destroySockets({ ...nothing, cookies: new Uint8Array(8) as unknown as BigUint64Array }),
    TypeError,
  );
});

t.test('devices, addresses and routes of this namespace', async (t) => {
  const lo = native()
    .devices()
    .find(({ name }) => name === 'lo');
  t.match(lo, { arpType: 772, physical: false, peerNetns: -1, master: 0, kind: '' });
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

/** The kernel's log, which forgets its oldest lines. */
const kernelLog = async (): Promise<string[]> => (await run(['dmesg'])).stdout.trimEnd().split('\n');

t.test('netlink requests leave no warning in the kernel log', async (t) => {
  const last = (await kernelLog()).at(-1) ?? '';
  native().devices();
  native().addresses();
  native().defaultRouteDevices();
  native().countClsact(1);
  native().canDestroySockets();
  const log = await kernelLog();
  const since = log.slice(log.lastIndexOf(last) + 1);
  t.strictSame(
    since.filter((line) => line.includes('netlink:')),
    [],
  );
});

t.test(
  'a worker thread that ends with open watchers and pending requests does not end the process',
  async (t) => {
    const code = `
    const native = require(${JSON.stringify(modulePath)});
    native.monitorLinks(() => undefined);
    for (let i = 0; i < 20; i++) native.netnsCookies(['/proc/self/ns/net']);
    const map = native.createMap({ type: 27, name: 'ring', keySize: 0, valueSize: 0, maxEntries: 4096 });
    native.openRingBuffer(map, () => undefined);
    native.createMap({ type: 2, name: 'array', keySize: 4, valueSize: 4, maxEntries: 4, flags: 1024 }).mmap();
    require('node:worker_threads').parentPort.postMessage('open');`;
    const worker = new Worker(code, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    t.equal(await worker.terminate(), 1);
    t.ok(native().possibleCpus() > 0, 'this thread goes on');
  },
);
