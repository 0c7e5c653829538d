// The growth of tables: its rule, and planes over real maps that grow.
import { EventEmitter, once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { native } from '../../native/index.ts';
import t, { type Test } from 'tap';
import { defaultOf } from '../../src/config/schema.ts';
import type { MapName } from '../../src/abi/layout.gen.ts';
import { grownSizes, type Growth, type Sizes } from '../../src/maps/growth.ts';
import { Dataplane } from '../../src/maps/plane.ts';
import { firstSizes, isNearlyFull, mapSizes } from '../../src/maps/sizes.ts';
import { buildServicePorts } from '../../src/model/build.ts';
import { listen } from '../../src/observe/channels.ts';
import { carryRows, writers } from '../../src/hooks/carry.ts';
import { service, slice } from '../support/kube/objects.ts';
import { closeMaps, createMaps, lifetimes, limits, type RealMaps } from '../support/kernel/realmaps.ts';

t.setTimeout(300_000);

const defaults = {
  services: Number(defaultOf('maxServices')),
  backends: Number(defaultOf('maxBackends')),
  flows: 1_024,
  halfOpenFlows: 1_024,
  sockets: 1_024,
};
const bounds = mapSizes(defaults);
/** Of counters there is a row for every CPU. */
const counterBytes = native().possibleCpus() * 2 ** 18;
const ofCluster = (Object.keys(bounds) as MapName[]).filter(
  (name) => bounds[name] !== firstSizes(defaults)[name],
);

/** Bytes that the kernel accounts for these maps of this process. */
function memoryOf(maps: RealMaps, names: readonly MapName[]): number {
  const known = new Map<string, number>();
  for (const name of readdirSync('/proc/self/fdinfo')) {
    try {
      const text = readFileSync(`/proc/self/fdinfo/${name}`, 'utf8');
      const [id, bytes] = [/map_id:\s*(\d+)/, /memlock:\s*(\d+)/].map((pattern) => pattern.exec(text)?.[1]);
      if (id !== undefined && bytes !== undefined) known.set(id, Number(bytes));
    } catch {
      // closed meanwhile
    }
  }
  return names.reduce((sum, name) => sum + (known.get(String(maps[name].info.id)) ?? Infinity), 0);
}

/** As the agent does it, but without programs. */
function growing(maps: RealMaps, tell: (sizes: Sizes) => void = () => undefined) {
  const grow = async (sizes: Sizes): Promise<void> => {
    await nextTurn(); // programs are loaded
    tell(sizes);
    const fresh = createMaps({ ...sizesOf(maps), ...sizes });
    for (const name of Object.keys(fresh) as MapName[]) {
      const [old, made] = [maps[name], fresh[name]];
      if (sizes[name] === undefined) made.close();
      else {
        if (writers[name] === 'agent') carryRows(old, made);
        Object.assign(maps, { [name]: made });
        old.close();
      }
    }
  };
  return { bounds, grow };
}

const sizesOf = (maps: RealMaps): Sizes =>
  Object.fromEntries(Object.entries(maps).map(([name, { info }]) => [name, info.maxEntries]));

const node = { name: 'node-a', zone: '', addresses: [] };
/** Service number i, of both families, with so many endpoints in each that no other has. */
function portsOf(key: string, families: 1 | 2, endpoints = 10) {
  const i = Number(key.slice('default/s'.length));
  const last = (value: number) => `${(value >> 16) & 255}.${(value >> 8) & 255}.${value & 255}`;
  const name = `s${i}`;
  const four = Array.from({ length: endpoints }, (_, j) => `11.${last(i * 16 + j + 1)}`);
  const six = four.map(
    (_, j) => `fd11::${(i >> 8).toString(16)}:${(i & 255).toString(16)}:${(j + 1).toString(16)}`,
  );
  const addresses = [`10.${last(i + 1)}`, `fd10::${(i + 1).toString(16)}`].slice(0, families);
  const slices = [slice(`${name}-4`, name, four), slice(`${name}-6`, name, six)].slice(0, families);
  return buildServicePorts(service(name, addresses), slices, node);
}

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `default/s${i}`);

async function planeOver(t: Test, maps: RealMaps, families: 1 | 2, growth: Growth = growing(maps)) {
  const plane = await Dataplane.open({
    ...{ maps, growth, lifetimes },
    clock: { hz: 100, now: () => 0 },
    portsOf: (key) => portsOf(key, families),
  });
  t.teardown(() => plane.stop());
  return plane;
}

t.test('the rule: as much free as used, all maps at once, never beyond the limit', (t) => {
  const size = (name: MapName) => (name === 'slb_services' ? 100 : 200);
  const most = { slb_services: 1_000, slb_backends: 600 };
  const need = (services: number, backends: number, end = services) => ({
    slb_services: { used: services, end },
    slb_backends: { used: backends, end: backends },
  });
  t.equal(grownSizes(need(80, 160), size, most), undefined, '80 %');
  t.same(grownSizes(need(81, 10), size, most), { slb_services: 192 });
  t.same(grownSizes(need(10, 10, 101), size, most), { slb_services: 112 }, 'a row beyond the end');
  t.same(grownSizes(need(81, 120), size, most), { slb_services: 192, slb_backends: 256 }, 'both');
  t.same(
    grownSizes(need(81, 10), size, most, () => 8),
    { slb_services: 1_000 },
    'what is to come, up to the bound',
  );
  t.equal(
    grownSizes(need(1_000, 10), () => 1_000, most),
    undefined,
    'at the bound',
  );
  t.end();
});

t.test('the kernel memory of ten Services is bounded', async (t) => {
  const maps = createMaps(firstSizes(defaults));
  t.teardown(() => closeMaps(maps));
  const plane = await planeOver(t, maps, 2);
  plane.update(names(10));
  await plane.idle();
  t.equal(plane.ports().length, 20);
  const bytes = memoryOf(maps, ofCluster);
  t.ok(bytes < 2 * 2 ** 20 + counterBytes, `${String(bytes)} bytes`);
});

for (const [count, families, most] of [
  [10_000, 1, 70],
  [20_000, 2, 130],
] as const)
  t.test(
    `${String(count)} Services of 10 endpoints, ${String(families)} families: all are programmed`,
    async (t) => {
      const maps = createMaps(firstSizes(defaults));
      t.teardown(() => closeMaps(maps));
      let times = 0;
      const plane = await planeOver(
        t,
        maps,
        families,
        growing(maps, () => times++),
      );
      plane.update(names(count));
      await plane.idle();
      t.same(plane.shortages, []);
      t.equal(plane.ports().length, count * families);
      t.same(
        plane.fill().filter((fill) => isNearlyFull(fill) && fill.name !== 'slb_maglev'),
        [],
      );
      t.ok(times <= 3, `${String(times)} times`);
      t.equal(await plane.repair(), 0, 'the kernel holds what the state says');
      const mib =
        memoryOf(
          maps,
          ofCluster.filter((name) => writers[name] === 'agent'),
        ) /
        2 ** 20;
      t.ok(mib < most, `${mib.toFixed(1)} MiB`);
      const whole = memoryOf(maps, ofCluster) / 2 ** 20;
      t.comment(`${mib.toFixed(1)} MiB, ${whole.toFixed(1)} with counters, grown ${String(times)} times`);
      for (const { name, used, size } of plane.fill()) t.ok(used <= size, `${name}: ${used} of ${size}`);
    },
  );

t.test(
  'a kernel out of memory: what fits is served, the rest is reported, and tried again later',
  async (t) => {
    const maps = createMaps(firstSizes({ ...defaults, backends: 256 }));
    t.teardown(() => closeMaps(maps));
    const real = growing(maps);
    let refuses = true;
    const grow = async (sizes: Sizes): Promise<void> => {
      if (refuses) throw new Error('ENOMEM');
      await real.grow(sizes);
    };
    const refused: unknown[] = [];
    t.teardown(listen('tables.refused', ({ error }) => refused.push(error)));
    const plane = await planeOver(t, maps, 1, { bounds, grow });
    plane.update(names(40));
    await plane.idle();
    t.equal(refused.length, 1);
    t.ok(
      plane.shortages.length > 0 && plane.shortages.length < 20,
      `${String(plane.shortages.length)} of 40`,
    );
    t.equal(plane.ports().length, 40 - plane.shortages.length);
    t.equal(await plane.repair(), 0);
    refuses = false;
    plane.grow();
    await plane.idle();
    t.same(plane.shortages, []);
    t.equal(plane.ports().length, 40);
  },
);

t.test('one that is stopped while tables grow writes nothing more, and is told nothing', async (t) => {
  const maps = createMaps(firstSizes({ ...defaults, backends: 256 }));
  t.teardown(() => closeMaps(maps));
  const steps = new EventEmitter();
  const [begun, loaded] = [once(steps, 'begun'), once(steps, 'loaded')];
  const told: string[] = [];
  for (const name of ['tables.grown', 'tables.refused', 'sync.failed', 'sync.done'] as const)
    t.teardown(listen(name, () => told.push(name)));
  const grow = async (_: Sizes, stopping: AbortSignal): Promise<void> => {
    steps.emit('begun');
    await loaded;
    stopping.throwIfAborted();
  };
  const plane = await planeOver(t, maps, 1, { bounds, grow });
  plane.update(names(40));
  await begun;
  const before = Buffer.from(maps.slb_services.readBatch(undefined, 512).values);
  t.ok(plane.growing);
  plane.stop();
  steps.emit('loaded');
  for (let turn = 0; turn < 20; turn++) await nextTurn();
  t.same(told, []);
  t.notOk(plane.growing);
  t.ok(before.equals(maps.slb_services.readBatch(undefined, 512).values), 'the rows are what they were');
});

t.test('without growth the tables stay as they are', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const plane = await Dataplane.open({
    ...{ maps, lifetimes },
    clock: { hz: 100, now: () => 0 },
    portsOf: (key) => portsOf(key, 1),
  });
  t.teardown(() => plane.stop());
  plane.update(names(30));
  await plane.idle();
  t.equal(plane.shortages.length, 5, '255 backends are there');
});
