// The capacity of the tables at default sizes, and reports of Services that do not fit.
import t from 'tap';
import { native } from '../../native/index.ts';
import { defaultOf } from '../../src/config/schema.ts';
import { recordEvents } from '../../src/agent/kubeevents.ts';
import { Dataplane } from '../../src/maps/plane.ts';
import { isNearlyFull, mapSizes } from '../../src/maps/sizes.ts';
import { buildServicePorts } from '../../src/model/build.ts';
import { listen } from '../../src/observe/channels.ts';
import type { ObjectEvent } from '../../src/source/objects.ts';
import { createStore } from '../../src/source/store.ts';
import { closeMaps, createMaps, lifetimes, limits } from '../support/kernel/realmaps.ts';
import { service, slice } from '../support/kube/objects.ts';

t.setTimeout(120_000);

const node = { name: 'node-a', zone: '', addresses: [] };
const defaults = {
  ...limits,
  services: Number(defaultOf('maxServices')),
  backends: Number(defaultOf('maxBackends')),
};

/** Service number i with ten endpoints that no other has. */
function portsOf(key: string) {
  const i = Number(key.slice('default/s'.length));
  const last = (value: number) => `${(value >> 16) & 255}.${(value >> 8) & 255}.${value & 255}`;
  const endpoints = Array.from({ length: 10 }, (_, j) => `11.${last(i * 16 + j + 1)}`);
  const name = `s${i}`;
  return buildServicePorts(service(name, [`10.${last(i + 1)}`]), [slice(`${name}-x`, name, endpoints)], node);
}

const open = (maps: ReturnType<typeof createMaps>): Promise<Dataplane> =>
  Dataplane.open({ maps, clock: { hz: 100, now: () => 0 }, lifetimes, portsOf });

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `default/s${i}`);

t.test('default sizes hold 20 000 Services of 10 endpoints, each with counters', async (t) => {
  const maps = createMaps(mapSizes(defaults));
  t.teardown(() => closeMaps(maps));
  const plane = await open(maps);
  t.teardown(() => plane.stop());
  plane.update(names(20_000));
  await plane.idle();
  t.same(plane.shortages, []);
  t.equal(plane.ports().length, 20_000);
  t.same(
    plane.fill().filter(isNearlyFull),
    [],
    'with room: as many again for the other family, or further ports',
  );
  const [last] = plane.portsOf('default/s19999');
  t.equal(last?.backends.length, 10);
  t.equal(plane.backendCounters()(last!.backends[0]!.id)?.connections, 0);
});

t.test('counters cost 32 MiB at most, or as much as 65 536 of them', (t) => {
  const bytes = (cpus: number) => mapSizes(defaults, cpus).slb_be_stats! * 56 * cpus;
  t.equal(mapSizes(defaults, 1).slb_be_stats, defaults.backends, 'all of them on small machines');
  for (const cpus of [2, 4, 8]) t.ok(bytes(cpus) <= 32 * 2 ** 20, String(cpus));
  t.equal(mapSizes(defaults, 256).slb_be_stats, 65_536);
  t.ok(mapSizes(defaults, native().possibleCpus()).slb_backends === defaults.backends);
  t.end();
});

t.test('Services that do not fit are reported by the plane, the log and an Event, once each', async (t) => {
  const maps = createMaps({ ...mapSizes(limits), slb_backends: 26 });
  t.teardown(() => closeMaps(maps));
  const events: ObjectEvent[] = [];
  const store = createStore({ nodeName: 'node-a' });
  const source = { record: (event: ObjectEvent) => events.push(event) };
  t.teardown(recordEvents({ nodeName: 'node-a', source, store }));
  const told: string[] = [];
  const served: string[] = [];
  const filling: string[] = [];
  t.teardown(listen('service.unserved', ({ service }) => told.push(service)));
  t.teardown(listen('service.served', ({ service }) => served.push(service)));
  t.teardown(listen('map.filling', ({ detail }) => filling.push(detail)));
  const plane = await open(maps);
  t.teardown(() => plane.stop());
  plane.update(names(4));
  await plane.idle();
  t.same(told, ['default/s2', 'default/s3']);
  t.same(
    plane.shortages.map(({ service, map }) => [service, map]),
    [
      ['default/s2', 'slb_backends'],
      ['default/s3', 'slb_backends'],
    ],
  );
  plane.update(names(4));
  await plane.idle();
  t.equal(told.length, 2, 'once');
  t.same(filling, ['slb_backends is 80 % full: raise --max-backends']);
  t.match(
    events.filter(({ type }) => type === 'Warning'),
    [
      { reason: 'FailedToProgram', regarding: { kind: 'Service', namespace: 'default', name: 's2' } },
      { reason: 'FailedToProgram', regarding: { kind: 'Service', namespace: 'default', name: 's3' } },
    ],
  );
  t.match(events.at(-1)?.note, /node-a.*slb_backends is full: raise --max-backends/);
  t.same(served, []);
});

t.test('backends beyond the rows of counters are served, and reported', async (t) => {
  const maps = createMaps({ ...mapSizes(limits), slb_be_stats: 16 });
  t.teardown(() => closeMaps(maps));
  const plane = await open(maps);
  t.teardown(() => plane.stop());
  plane.update(names(1));
  await plane.idle();
  t.equal(plane.uncounted, 0);
  plane.update(names(2));
  await plane.idle();
  t.same(plane.shortages, []);
  t.equal(plane.uncounted, 5, '20 backends, and 15 rows that are given out');
});
