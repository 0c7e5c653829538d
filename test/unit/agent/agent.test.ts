import t from 'tap';
import { trackSync } from '../../../src/health/sync.ts';
import { Lifecycle } from '../../../src/agent/lifecycle.ts';
import { noTraffic } from '../../../src/maps/counters.ts';
import type { FlowEntry } from '../../../src/maps/flowrows.ts';
import type { Endpoint, ServicePort } from '../../../src/model/types.ts';
import { listen } from '../../../src/observe/channels.ts';
import { Programmer } from '../../../src/agent/programmer.ts';
import type { Change, SourceProblem } from '../../../src/source/objects.ts';
import { createStore } from '../../../src/source/store.ts';
import type { PortState } from '../../../src/table/state.ts';
import type { Shortage } from '../../../src/table/transaction.ts';
import { metricsOf } from '../../../src/agent/view/metrics.ts';
import type { Components } from '../../../src/agent/view/components.ts';
import { createView } from '../../../src/agent/view/view.ts';
import { meta, service, slice } from '../../support/kube/objects.ts';

/** A plane whose writes are done when the test says so. */
function fakePlane() {
  let finish: () => void = () => undefined;
  return {
    updates: [] as string[][],
    synced: false,
    shortages: [] as Shortage[],
    growing: false,
    update(services: Iterable<string>) {
      this.updates.push([...services]);
    },
    idle: () => new Promise<void>((resolve) => (finish = resolve)),
    ports: (): PortState[] => [],
    async written() {
      this.synced = true;
      finish();
      await new Promise(setImmediate);
    },
  };
}

const store = () => createStore({ nodeName: 'a' });

t.test(
  'S-102: ready when all objects are listed, written and in force; programs are attached last',
  async (t) => {
    const plane = fakePlane();
    const happened: string[] = [];
    const attach = () => happened.push(plane.synced ? 'attached' : 'attached too early');
    const programmer = new Programmer({ plane, health: trackSync(() => new Date()), attach });
    t.teardown(listen('agent.ready', () => happened.push('ready')));
    t.match(programmer.missing(), [/source/]);
    programmer.sink(store(), 'a test').synced();
    programmer.update(['shop/web']);
    t.match(programmer.missing(), [/rows/]);
    t.same(happened, []);
    await plane.written();
    t.same(programmer.missing(), []);
    t.same(happened, ['attached', 'ready']);
    programmer.update(['shop/web', 'shop/db']);
    t.same(programmer.missing(), [], 'later changes do not make it unready');
    await plane.written();
    t.same(plane.updates, [['shop/web'], ['shop/web', 'shop/db']]);
    t.same(happened, ['attached', 'ready'], 'once');
  },
);

t.test(
  'S-102: not ready while a Service is not in the kernel, which is reported; the others are served',
  async (t) => {
    const plane = fakePlane();
    let attached = 0;
    let ready = 0;
    const attach = () => attached++;
    const programmer = new Programmer({ plane, health: trackSync(() => new Date()), attach });
    t.teardown(listen('agent.ready', () => ready++));
    programmer.sink(store(), 'a test').synced();
    programmer.update(['shop/web', 'shop/db']);
    plane.shortages = [{ service: 'shop/db', map: 'slb_backends' }];
    await plane.written();
    t.same(
      programmer.missing(),
      ['shop/db: not programmed: slb_backends is full: raise --max-backends'],
      'named, with what helps',
    );
    t.same([attached, ready], [1, 0]);
    plane.shortages = [];
    programmer.update(['shop/db']);
    await plane.written();
    t.same(programmer.missing(), []);
    t.same([attached, ready], [1, 1]);
    plane.shortages = Array.from({ length: 30 }, (_, i) => ({ service: `shop/s${i}`, map: 'slb_sets' }));
    t.equal(programmer.missing().length, 21, 'also later; the first of many, and how many more');
    t.match(programmer.missing().at(-1), /^10 more/);
    plane.shortages = [];
    plane.growing = true;
    t.match(programmer.missing(), [/^larger tables are being made/], 'nor while changes wait for room');
  },
);

t.test('S-103: existing forwarding is adopted at once', async (t) => {
  const plane = fakePlane();
  let attached = 0;
  const programmer = new Programmer({
    plane,
    health: trackSync(() => new Date()),
    attach: () => attached++,
  });
  programmer.attachNow();
  t.equal(attached, 1);
  t.match(programmer.missing(), [/source/], 'but it is not ready by that');
  programmer.sink(store(), 'a test').synced();
  programmer.update([]);
  await plane.written();
  t.equal(attached, 1);
  t.same(programmer.missing(), []);
});

t.test('when stopped while rows are written, nothing is attached', async (t) => {
  const plane = fakePlane();
  let attached = 0;
  const programmer = new Programmer({
    plane,
    health: trackSync(() => new Date()),
    attach: () => attached++,
  });
  programmer.sink(store(), 'a test').synced();
  programmer.update(['shop/web']);
  programmer.stop();
  await plane.written();
  t.equal(attached, 0);
});

t.test('S-95: an update waits from its arrival until it is written', async (t) => {
  const plane = fakePlane();
  let time = 0;
  const programmer = new Programmer({
    plane,
    health: trackSync(() => new Date(time)),
    attach: () => undefined,
  });
  programmer.update(['shop/web']);
  await plane.written();
  t.ok(programmer.health.healthy);
  programmer.update(['shop/web']);
  time += 61_000;
  t.notOk(programmer.health.healthy);
  await plane.written();
  t.ok(programmer.health.healthy);
});

t.test(
  'S-101: the latency of a change ends with the write that succeeds; health checks follow the write',
  async (t) => {
    const plane = fakePlane();
    let time = 50_000;
    const written: string[][] = [];
    const programmer = new Programmer({
      plane,
      health: trackSync(() => new Date(time)),
      attach: () => undefined,
      onWritten: (services) => written.push([...services]),
      now: () => time,
    });
    const latencies: number[] = [];
    const seen: object[] = [];
    t.teardown(listen('endpoints.programmed', ({ tookMs }) => latencies.push(tookMs)));
    t.teardown(listen('source.changed', (fact) => seen.push(fact)));
    const sink = programmer.sink(store(), 'a test');
    const annotation = 'endpoints.kubernetes.io/last-change-trigger-time';
    const changed = (name: string, at: number): Change => {
      const annotations = { [annotation]: new Date(at).toISOString() };
      return { op: 'put', object: slice(name, 'web', [], { meta: { ...meta(name), annotations } }) };
    };
    sink.changes([
      { op: 'put', object: service('web', ['10.96.0.1']) },
      changed('web-1', 51_000),
      changed('web-2', 52_000),
    ]);
    sink.changes([changed('web-0', 10_000)]);
    t.same(seen, [
      { services: 1, slices: 2 },
      { services: 0, slices: 1 },
    ]);
    programmer.update(['default/web']);
    programmer.update(['default/web', 'default/db']);
    t.same([latencies, written], [[], []], 'writing fails, and is tried again');
    time = 60_000;
    await plane.written();
    t.same(latencies, [9_000, 8_000], 'all of the time, but not of what was before the start');
    t.same(written, [['default/web', 'default/db']]);
    sink.changes([
      changed('web-1', 61_000),
      { op: 'del', kind: 'EndpointSlice', namespace: 'default', name: 'web-2' },
    ]);
    programmer.update(['default/web']);
    await plane.written();
    t.equal(latencies.length, 2, 'a slice was deleted: its last words tell nothing of when');
    t.same(written.at(-1), ['default/web'], 'what has been told is not told again');
  },
);

t.test('problems are reported when they appear and when they are gone, once each', (t) => {
  const told: string[] = [];
  t.teardown(listen('source.problem', ({ where, message }) => told.push(`${where} ${message}`)));
  t.teardown(listen('source.recovered', ({ where }) => told.push(`${where} recovered`)));
  const all = store();
  const programmer = new Programmer({
    plane: fakePlane(),
    health: trackSync(() => new Date()),
    attach: () => undefined,
  });
  const sink = programmer.sink(all, 'a test');
  const broken: SourceProblem = { where: 'a.yaml:3', field: 'spec', message: 'missing' };
  const other: SourceProblem = { where: 'b.yaml:1', field: 'kind', message: 'unknown' };
  sink.problems([broken]);
  sink.problems([broken, other]);
  t.same(all.currentProblems(), [broken, other]);
  sink.problems([other]);
  t.same(told, ['a.yaml:3 missing', 'b.yaml:1 unknown', 'a.yaml:3 recovered']);
  t.end();
});

t.test('an API server that does not answer, and objects that are not used, are different problems', (t) => {
  const told: string[] = [];
  t.teardown(listen('source.problem', ({ where }) => told.push(`problem ${where}`)));
  t.teardown(listen('source.failing', ({ where, message }) => told.push(`failing ${where} ${message}`)));
  t.teardown(listen('source.recovered', ({ where }) => told.push(`recovered ${where}`)));
  const programmer = new Programmer({
    plane: fakePlane(),
    health: trackSync(() => new Date()),
    attach: () => undefined,
  });
  const sink = programmer.sink(store(), 'a test');
  const failing: SourceProblem = { where: 'https://api/v1/pods', field: '', message: 'gone', failing: true };
  sink.problems([failing, { where: 'Service default web', field: 'spec', message: 'missing' }]);
  sink.problems([]);
  t.same(told, [
    'failing https://api/v1/pods gone',
    'problem Service default web',
    'recovered https://api/v1/pods',
    'recovered Service default web',
  ]);
  t.end();
});

t.test('components stop in the reverse order of their start, also when one fails', async (t) => {
  const lifecycle = new Lifecycle();
  const stopped: number[] = [];
  const faults: unknown[] = [];
  t.teardown(listen('agent.fault', ({ error }) => faults.push(error)));
  lifecycle.onStop(() => stopped.push(1));
  lifecycle.onStop(async () => {
    await new Promise(setImmediate);
    stopped.push(2);
    throw new Error('second');
  });
  lifecycle.onStop(() => stopped.push(3));
  await lifecycle.stop();
  t.same(stopped, [3, 2, 1]);
  t.match(faults, [{ message: 'second' }]);
  await lifecycle.stop();
  t.same(stopped, [3, 2, 1], 'once');
});

const endpoint = (address: string, more: Partial<Endpoint> = {}): Endpoint => ({
  address,
  port: 8080,
  ready: true,
  serving: true,
  terminating: false,
  local: false,
  ...more,
});

const endpoints = [
  endpoint('10.1.0.1', { local: true }),
  endpoint('10.1.0.2', { ready: false, serving: false }),
  endpoint('10.1.0.3', { ready: false, terminating: true }),
  endpoint('10.1.0.4'),
  endpoint('10.1.0.5', { ready: false }),
];

const web: ServicePort = {
  key: 'shop/web:http/TCP/IPv4',
  namespace: 'shop',
  name: 'web',
  portName: 'http',
  protocol: 'TCP',
  family: 4,
  port: 80,
  frontends: [{ kind: 'ClusterIP', address: '10.96.0.10', port: 80 }],
  endpoints,
  clusterEndpoints: endpoints.slice(0, 1),
  localEndpoints: [],
  anyEndpoint: true,
  internalLocal: false,
  externalLocal: false,
  allow: [],
  deny: [],
  affinitySec: 0,
  socketHooks: true,
};

const row = (id: number, last: number, lists: number) => ({
  id,
  service: 7,
  address: `10.1.0.${String(last)}`,
  port: 8080,
  proto: 6,
  lists,
});

// In the kernel: one that is ready, and three that keep the connections they have.
const states: PortState[] = [
  {
    port: web,
    row: { id: 7, clusterSet: 1, localSet: 0, flags: 0, affinitySec: 0 },
    backends: [row(11, 1, 1), row(12, 2, 0), row(13, 3, 0), row(14, 4, 0)],
    sets: {
      cluster: { index: 1, first: 0, ids: [11], table: { first: 0, size: 251 } as never },
      local: undefined,
    },
    ranges: [],
  },
  {
    port: undefined,
    row: { id: 8, clusterSet: 0, localSet: 0, flags: 0, affinitySec: 0 },
    backends: [],
    sets: { cluster: undefined, local: undefined },
    ranges: [],
  },
];

const flow = (service: number, client: string): FlowEntry => ({
  via: 'packets',
  proto: 17,
  client: { address: client, port: 4000 },
  frontend: { address: '10.96.0.10', port: 80 },
  backend: { address: '10.1.0.1', port: 8080 },
  source: { address: client, port: 4000 },
  service,
  backendId: 11,
  state: 'established',
  hairpin: false,
  masqueraded: false,
  ageSec: 5,
  idleSec: 1,
});

/** Of a connected UDP socket, whose source address is not known. */
const socketFlow: FlowEntry = {
  ...flow(7, ''),
  via: 'socket',
  client: { address: '', port: 0 },
  idleSec: undefined,
};

const traffic = { ...noTraffic, connections: 3, active: 2, bytesIn: 300 };

function components(): Components {
  const flows = [flow(7, '10.2.0.1'), flow(7, '10.2.0.2'), flow(99, '10.2.0.1'), socketFlow];
  return {
    config: { nodeName: 'node-a' },
    features: { list: [] },
    source: { description: 'a test' },
    store: {
      currentProblems: () => [
        { where: 'a.yaml:3', field: 'ports', message: 'odd', service: 'shop/web' },
        { where: 'a.yaml:9', field: '', message: 'another', service: 'shop/other' },
      ],
      service: (key) =>
        key === 'shop/name'
          ? service('name', [], { type: 'ExternalName', meta: meta('name', {}, 'shop') })
          : undefined,
      serviceKeys: () => ['shop/name', 'shop/surname'],
      slices: (key) =>
        key === 'shop/db' ? [slice('db-1', 'db', ['10.1.0.1'], { meta: meta('db-1', {}, 'shop') })] : [],
    },
    host: { nodeAddresses: ['192.0.2.1'] },
    attachments: { states: () => [{ name: 'eth0', ifindex: 2, role: 'uplink', tc: 'tcx', xdp: 'native' }] },
    sockets: { state: () => ({ state: 'on', detail: '/sys/fs/cgroup' }) },
    exemptions: { list: () => [{ reason: 'pod', name: 'lab/a', mesh: '', cgroups: 1 }] },
    programmer: { missing: () => [], listed: true },
    errors: { list: () => [{ at: new Date(0), code: 'SLB_E_MAP', message: 'once' }] },
    plane: {
      synced: true,
      lastSync: { at: new Date(0), tookMs: 1, operations: 2 },
      failingSince: undefined,
      shortages: [],
      growing: false,
      uncounted: 0,
      ports: () => states,
      portsOf: (service: string) => (service === 'shop/web' ? states.slice(0, 1) : []),
      portById: (id: number) => states.find((state) => state.row.id === id),
      serviceCounters: () => (id: number) => (id === 7 ? traffic : noTraffic),
      backendCounters: () => (id: number) => (id === 11 ? traffic : noTraffic),
      verdicts: () => [{ hook: 'tc_in', verdict: 'REQUEST', class: 'SEND', packets: 4 }],
      flowCounts: () => [],
      packetCounts: () => [],
      fill: () => [{ name: 'slb_services', used: 1, size: 10, bound: 20 }],
      flows: (wanted, limit) => ({ flows: flows.filter(wanted).slice(0, limit), cursor: undefined }),
    },
  };
}

const view = (): ReturnType<typeof createView> => createView(components(), () => Promise.resolve(''));

t.test('the view: services and backends as the kernel has them', (t) => {
  const detail = view().service('shop', 'web');
  t.match(detail.ports, [{ id: 7, family: 'IPv4', backends: 1, tableSize: 251, counters: traffic }]);
  t.same(
    detail.backends.map(({ address, state, local, id }) => [address, state, local, id]),
    [
      ['10.1.0.1', 'ready', true, 11],
      ['10.1.0.2', 'not-ready', false, 12],
      ['10.1.0.3', 'draining', false, 13],
      ['10.1.0.4', 'unused', false, 14],
      ['10.1.0.5', 'not-ready', false, 0],
    ],
  );
  t.same(detail.backends[0]?.counters, traffic);
  t.match(detail.backends[2]?.conditions, { ready: false, serving: true, terminating: true });
  const few = components();
  const beyond = createView(
    { ...few, plane: { ...few.plane, backendCounters: () => (id) => (id === 11 ? traffic : undefined) } },
    () => Promise.resolve(''),
  ).service('shop', 'web').backends;
  t.same(
    beyond.map(({ counted }) => counted),
    [true, false, false, false, true],
    'not those beyond the rows of counters',
  );
  t.same(detail.problems, [{ where: 'a.yaml:3', field: 'ports', message: 'odd' }], 'its own problems');
  const missing = (name: string, message: RegExp): unknown =>
    t.throws(() => view().service('shop', name), { code: 'SLB_E_NOT_FOUND', detail: message }, name);
  missing('none', /^there is no Service shop\/none$/);
  t.throws(() => view().service('default', 'name'), {
    code: 'SLB_E_NOT_FOUND',
    detail: 'there is no Service default/name, but shop/name',
  });
  missing(
    'db',
    /^there is no Service shop\/db; EndpointSlice shop\/db-1: metadata\.labels there is no Service/,
  );
  missing('name', /^nothing is forwarded for Service shop\/name: type ExternalName/);
  missing('other', /^there is no Service shop\/other; a\.yaml:9: another$/);
  t.equal(view().services({ limit: 10 }).services.length, 1, 'rows of no Service are not shown');
  t.equal(view().backends({ limit: 10 }).backends.length, 5);
  t.match(view().status(), { services: 1, servicePorts: 1, backends: 4, ready: true, node: 'node-a' });
  t.same(view().status().socketHooks, { state: 'on', detail: '/sys/fs/cgroup' });
  t.same(view().status().exempt, [{ reason: 'pod', name: 'lab/a', mesh: '', cgroups: 1 }]);
  t.match(view().status().errors, [{ at: '1970-01-01T00:00:00.000Z', code: 'SLB_E_MAP' }]);
  t.end();
});

t.test('the view: pages of whole services, in the order of their names', (t) => {
  const named = (name: string): PortState => ({ ...states[0]!, port: { ...web, name } });
  const ports = ['d', 'b', 'a', 'c', 'a'].map(named);
  const all = { ...components(), plane: { ...components().plane, ports: () => ports } };
  const paged = createView(all, () => Promise.resolve(''));
  const first = paged.services({ limit: 2 });
  t.same(
    first.services.map(({ name, ports: { length } }) => [name, length]),
    [
      ['a', 2],
      ['b', 1],
    ],
  );
  const second = paged.services({ limit: 2, cursor: first.cursor! });
  t.same(
    second.services.map(({ name }) => name),
    ['c', 'd'],
  );
  t.equal(second.cursor, undefined);
  const backends = paged.backends({ limit: 5 });
  t.equal(backends.backends.length, 10, 'both ports of a, though the limit is in the middle');
  t.equal(backends.cursor, 'shop/a');
  t.equal(paged.backends({ limit: 5, cursor: 'shop/c' }).backends.length, 5);
  t.end();
});

t.test('the view: flows by service and client; a flow outlives its service', (t) => {
  const flows = (query: { service?: string; client?: string }) => view().flows({ limit: 10, ...query }).flows;
  t.same(
    flows({}).map(({ service, protocol }) => [service, protocol]),
    [
      ['web', 'UDP'],
      ['web', 'UDP'],
      ['', 'UDP'],
      ['web', 'UDP'],
    ],
  );
  t.equal(flows({ service: 'shop/web' }).length, 3);
  t.equal(flows({ client: '10.2.0.1' }).length, 2);
  t.equal(flows({ client: '::ffff:10.2.0.1' }).length, 2, 'an address is compared as an address');
  t.equal(flows({ service: 'shop/web', client: '10.2.0.2' }).length, 1);
  t.throws(() => flows({ client: 'no-address' }), { code: 'SLB_E_API' });
  const all = flows({});
  t.match(all[0], { via: 'packets', idleSec: 1 });
  t.match(all[3], { via: 'socket', client: { address: '', port: 0 } });
  t.notOk('idleSec' in all[3]!, 'a time that is not recorded is not shown');
  t.end();
});

t.test('the metrics: one series for each Service port', (t) => {
  t.match(metricsOf(components()).ports(), [
    {
      labels: { namespace: 'shop', service: 'web', port: 'http', protocol: 'TCP', family: 'IPv4' },
      backends: 1,
      counters: traffic,
    },
  ]);
  t.equal(metricsOf(components()).ports().length, 1);
  for (const [state, value] of [
    ['on', true],
    ['ending', false],
    ['off', false],
  ] as const) {
    const sockets = { state: () => ({ state, detail: '' }) };
    t.equal(metricsOf({ ...components(), sockets }).socketHooks(), value, state);
  }
  t.end();
});
