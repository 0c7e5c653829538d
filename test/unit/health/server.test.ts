import { request } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Writable } from 'node:stream';
import { mock } from 'node:test';
import t, { type Test } from 'tap';
import { SluiceError } from '../../../src/errors.ts';
import { isNodeEligible, liveAnswers } from '../../../src/health/live.ts';
import { metricsAnswers } from '../../../src/health/metrics.ts';
import { HealthChecks } from '../../../src/health/nodeports.ts';
import type { HealthCheck } from '../../../src/model/health.ts';
import { HealthServer } from '../../../src/health/server.ts';
import { byPath } from '../../../src/http/answer.ts';
import { trackSync } from '../../../src/health/sync.ts';
import { listen, publish, type FactName, type Facts } from '../../../src/observe/channels.ts';
import { startLogging } from '../../../src/observe/log.ts';
import { formatHistogram, formatLabels, formatMetric, Histogram } from '../../../src/observe/prometheus.ts';
import { keepRecentErrors } from '../../../src/observe/recent.ts';

function clock(start = '2026-01-01T00:00:00.000Z') {
  let time = Date.parse(start);
  return { now: () => new Date(time), pass: (seconds: number) => (time += seconds * 1_000) };
}

/** The next fact of that name for which `wanted` says yes. */
function heard<Name extends FactName>(
  t: Test,
  name: Name,
  wanted: (fact: Facts[Name]) => boolean = () => true,
): Promise<Facts[Name]> {
  return new Promise((resolve) => {
    t.teardown(
      listen(name, (fact) => {
        if (wanted(fact)) resolve(fact);
      }),
    );
  });
}

t.test('S-95: healthy until an update has waited for more than a minute', (t) => {
  const { now, pass } = clock();
  const sync = trackSync(now);
  t.ok(sync.healthy, 'just started, nothing queued');
  sync.queued();
  pass(59);
  t.ok(sync.healthy, 'the first update has its time, too');
  pass(2);
  t.notOk(sync.healthy, 'nothing was ever programmed');
  sync.synced();
  t.same(sync.lastSynced, now());
  pass(3_600);
  t.ok(sync.healthy, 'an hour with nothing to do');
  sync.queued();
  pass(59);
  sync.queued();
  t.ok(sync.healthy);
  pass(2);
  t.notOk(sync.healthy, 'the oldest counts, later ones do not move it');
  sync.synced();
  t.ok(sync.healthy);
  t.end();
});

t.test('S-96: a node to be deleted is not eligible', (t) => {
  t.notOk(isNodeEligible(undefined), 'not seen yet');
  t.ok(isNodeEligible({ taints: ['node.kubernetes.io/unschedulable'], deleting: false }));
  t.notOk(isNodeEligible({ taints: [], deleting: true }));
  t.notOk(isNodeEligible({ taints: ['ToBeDeletedByClusterAutoscaler'], deleting: false }));
  t.end();
});

t.test('S-95, S-96: /healthz and /livez', async (t) => {
  const { now, pass } = clock();
  const sync = trackSync(now);
  let eligible = true;
  const answers = liveAnswers(sync, () => eligible, now);
  const ask = async (path: '/healthz' | '/livez') => {
    const question = { path, query: new URLSearchParams(), family: 4 } as const;
    const { status, type, body } = await answers[path]!(question);
    t.equal(type, 'application/json');
    return { status, body: JSON.parse(body) as Record<string, unknown> };
  };
  t.match(await ask('/livez'), { status: 200, body: { healthy: true } }, 'just started');
  t.notOk('status' in (await ask('/livez')).body, 'nothing to judge');
  eligible = false;
  t.match(await ask('/healthz'), { status: 503, body: { lastUpdated: '0001-01-01T00:00:00Z' } });
  eligible = true;
  sync.synced();
  pass(5);
  const nowText = now().toISOString();
  t.match(await ask('/healthz'), {
    status: 200,
    body: { lastUpdated: nowText, currentTime: nowText, nodeEligible: true },
  });
  eligible = false;
  t.match(await ask('/healthz'), {
    status: 503,
    body: { lastUpdated: '2026-01-01T00:00:00.000Z', nodeEligible: false },
  });
  const live = await ask('/livez');
  t.equal(live.status, 200, 'the kubelet must not restart the proxy of a node that leaves');
  t.notOk('nodeEligible' in live.body);
  sync.queued();
  pass(61);
  t.match(await ask('/livez'), {
    status: 503,
    body: { healthy: false, status: { IPv4: { healthy: false } } },
  });
});

t.test('the probes are counted by their status (S-99)', async (t) => {
  const { now } = clock();
  let eligible = true;
  const counted: Facts['probe.answered'][] = [];
  t.teardown(listen('probe.answered', (fact) => counted.push(fact)));
  const answers = liveAnswers(trackSync(now), () => eligible, now);
  const question = { path: '', query: new URLSearchParams(), family: 4 } as const;
  await answers['/healthz']!(question);
  eligible = false;
  await answers['/healthz']!(question);
  await answers['/livez']!(question);
  t.same(counted, [
    { probe: 'healthz', status: 200 },
    { probe: 'healthz', status: 503 },
    { probe: 'livez', status: 200 },
  ]);
});

t.test('S-98: the metrics address', async (t) => {
  const answers = metricsAnswers({
    metrics: () => Promise.resolve('up 1\n'),
    healthchecks: () => 'kubernetes_healthcheck 1\n',
    config: { nodeName: 'node-a' },
  });
  const target = { host: '127.0.0.1', port: 0 };
  const server = new HealthServer({ name: 'metrics', target, answer: byPath(answers) });
  t.equal(await server.start(), undefined);
  t.teardown(() => server.stop());
  const get = async (path: string) => {
    const answer = await fetch(`http://${server.address()}${path}`);
    return [answer.status, await answer.text()];
  };
  t.same(await get('/metrics?x=1'), [200, 'up 1\n']);
  t.same(await get('/metrics/slis'), [200, 'kubernetes_healthcheck 1\n']);
  t.same(await get('/proxyMode'), [200, 'sluice']);
  t.same(await get('/healthz'), [200, 'ok']);
  t.same(await get('/configz'), [200, '{"sluice":{"nodeName":"node-a"}}']);
  t.same(await get('/constructor'), [404, 'not found\n']);
  await server.stop();
  await t.rejects(fetch(`http://${server.address()}/healthz`));
});

async function occupy(t: Test, host: string, port = 0): Promise<Server> {
  const server = createServer();
  await new Promise<void>((done) => server.listen({ host, port }, done));
  t.teardown(() => server.close());
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

t.test('S-97: a port in use is reported once and tried again until it is free', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const taken = await occupy(t, '127.0.0.1');
  const complaints: Facts['server.failed'][] = [];
  t.teardown(listen('server.failed', (fact) => complaints.push(fact)));
  const target = { host: '127.0.0.1', port: portOf(taken) };
  const server = new HealthServer({ name: 'healthz', target, answer: byPath({}) });
  t.match(await server.start(), { code: 'SLB_E_LISTEN' });
  t.teardown(() => server.stop());
  t.match(complaints, [{ server: 'healthz', error: { code: 'SLB_E_LISTEN', detail: /EADDRINUSE/ } }]);
  mock.timers.tick(5_000);
  await new Promise(setImmediate);
  t.equal(complaints.length, 1, 'still taken: nothing new');
  await new Promise((done) => taken.close(done));
  const listening = heard(t, 'server.listening');
  mock.timers.tick(5_000);
  t.match(await listening, { server: 'healthz' });
});

interface Told {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

function ask(host: string, port: number, path = '/', method = 'GET'): Promise<Told> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, path, method, agent: false }, (incoming) => {
      let body = '';
      incoming.setEncoding('utf8').on('data', (text: string) => (body += text));
      incoming.on('end', () => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body });
      });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** An address of this test's own, so that its ports are free. */
const here = '127.77.91.1';

t.test('S-97: a server stopped while it starts does not listen later', async (t) => {
  const target = { host: here, port: 30_041 };
  const server = new HealthServer({ name: 'healthz', target, answer: byPath({}) });
  const started = server.start();
  await server.stop();
  await started;
  await t.rejects(ask(here, 30_041), { code: 'ECONNREFUSED' });
});

function check(name: string, port: number, localEndpoints: HealthCheck['localEndpoints']): HealthCheck {
  return { namespace: 'shop', name, port, localEndpoints };
}

function startChecks(t: Test, addresses: readonly string[] | 'everywhere' = [here]) {
  const state = { healthy: true };
  const checks = new HealthChecks({ healthy: () => state.healthy });
  checks.listenAt(addresses === 'everywhere' ? undefined : addresses);
  t.teardown(() => checks.stop());
  const update = (changes: Record<string, HealthCheck | undefined>): void =>
    checks.update(new Map(Object.entries(changes)));
  const listening = (service: string): Promise<unknown> =>
    heard(t, 'server.listening', (fact) => fact.service === service);
  return { state, checks, update, listening };
}

t.test('S-92: the answer of a health check, byte for byte, at whatever path', async (t) => {
  const { state, update, listening } = startChecks(t);
  const up = listening('shop/web');
  update({ 'shop/web': check('web', 30_001, { 4: 2 }) });
  await up;
  const told = await ask(here, 30_001);
  t.equal(told.status, 200);
  t.match(told.headers, {
    'content-type': 'application/json',
    'x-content-type-options': 'nosniff',
    'x-load-balancing-endpoint-weight': '2',
  });
  const lines = ['{', '\t"service": {', '\t\t"namespace": "shop",', '\t\t"name": "web"', '\t},'];
  t.equal(told.body, [...lines, '\t"localEndpoints": 2,', '\t"serviceProxyHealthy": true', '}'].join('\n'));
  for (const path of ['/healthz', '/any/thing?at=all'])
    t.equal((await ask(here, 30_001, path)).body, told.body, path);
  for (const method of ['POST', 'DELETE'])
    t.match(await ask(here, 30_001, '/', method), { status: 405 }, `S-91: ${method} asks for no state`);
  t.match(await ask(here, 30_001, '/', 'HEAD'), { status: 200, body: '' });
  state.healthy = false;
  const stuck = await ask(here, 30_001);
  t.equal(stuck.status, 503, 'a proxy that is stuck');
  t.match(JSON.parse(stuck.body), { localEndpoints: 2, serviceProxyHealthy: false });
  state.healthy = true;
  update({ 'shop/web': check('web', 30_001, { 4: 0 }) });
  const drained = await ask(here, 30_001);
  t.equal(drained.status, 503, 'no endpoint');
  t.equal(drained.headers['x-load-balancing-endpoint-weight'], '0');
});

t.test('S-91: a dual-stack Service has one port, and each family its own count there', async (t) => {
  const { update, listening } = startChecks(t, 'everywhere');
  const probe = await occupy(t, '::');
  const port = portOf(probe);
  await new Promise((done) => probe.close(done));
  const up = listening('shop/both');
  update({ 'shop/both': check('both', port, { 4: 2, 6: 0 }) });
  await up;
  t.match(await ask('127.0.0.1', port), { status: 200, body: /"localEndpoints": 2/ });
  t.match(await ask('::1', port), { status: 503, body: /"localEndpoints": 0/ });
  update({ 'shop/both': check('both', port, { 4: 3 }) });
  t.match(
    await ask('::1', port),
    { status: 200, body: /"localEndpoints": 3/ },
    'single stack, asked by the other',
  );
});

t.test('S-94: opened, moved, closed and taken over with the Services', async (t) => {
  const { update, listening } = startChecks(t);
  const failures: unknown[] = [];
  t.teardown(listen('server.failed', (fact) => failures.push(fact)));
  const up = listening('shop/a');
  update({ 'shop/a': check('a', 30_011, { 4: 1 }), 'shop/none': undefined });
  await up;
  const moved = listening('shop/a');
  update({ 'shop/a': check('a', 30_012, { 4: 1 }) });
  await moved;
  await t.rejects(ask(here, 30_011), { code: 'ECONNREFUSED' }, 'the old number');
  t.equal((await ask(here, 30_012)).status, 200);
  const heir = listening('shop/b');
  // The heir comes first in the batch: its port is still taken when the batch begins.
  update({ 'shop/b': check('b', 30_012, { 4: 1 }), 'shop/a': undefined });
  await heir;
  t.match(await ask(here, 30_012), { body: /"name": "b"/ });
  t.same(failures, [], 'at the first try');
  update({ 'shop/b': undefined });
  await t.rejects(ask(here, 30_012), { code: 'ECONNREFUSED' }, 'nothing leaks');
});

t.test('S-94: a port in use is reported with its Service, and no other Service is affected', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const taken = await occupy(t, here, 30_021);
  const { update, listening } = startChecks(t);
  const failed = heard(t, 'server.failed');
  const up = listening('shop/good');
  update({ 'shop/bad': check('bad', 30_021, { 4: 1 }), 'shop/good': check('good', 30_022, { 4: 1 }) });
  t.match(await failed, {
    server: 'healthCheckNodePort',
    service: 'shop/bad',
    error: { code: 'SLB_E_LISTEN' },
  });
  await up;
  t.equal((await ask(here, 30_022)).status, 200);
  await new Promise((done) => taken.close(done));
  const second = listening('shop/bad');
  mock.timers.tick(5_000);
  await second;
  t.equal((await ask(here, 30_021)).status, 200, 'once it is free');
});

t.test('S-91, S-56: at the node port addresses alone, also after they have changed', async (t) => {
  const { checks, update, listening } = startChecks(t);
  const up = listening('shop/web');
  update({ 'shop/web': check('web', 30_031, { 4: 1 }) });
  await up;
  await t.rejects(ask('127.77.91.2', 30_031), { code: 'ECONNREFUSED' });
  const moved = listening('shop/web');
  checks.listenAt(['127.77.91.2']);
  await moved;
  t.equal((await ask('127.77.91.2', 30_031)).status, 200);
  await t.rejects(ask(here, 30_031), { code: 'ECONNREFUSED' });
  checks.listenAt([]);
  await t.rejects(ask('127.77.91.2', 30_031), { code: 'ECONNREFUSED' }, 'no address matches: nowhere');
});

t.test('log lines: level, code, fields; a coded error gives its code, a bug its stack', (t) => {
  const written: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  const stop = startLogging('info', 'node-a', sink);
  publish('device.attached', { device: 'eth0', tc: 'tcx', xdp: 'off' });
  publish('sync.failed', { error: new SluiceError('SLB_E_MAP_FULL', 'slb_backends'), retryMs: 100 });
  publish('agent.fault', { error: new TypeError('a bug') });
  publish('service.changed', { service: 'shop/web', ports: 1 });
  stop();
  publish('device.detached', { device: 'eth0' });
  t.match(written, [
    {
      level: 'info',
      code: 'device.attached',
      device: 'eth0',
      tc: 'tcx',
      node: 'node-a',
      time: /^\d{4}-/,
      msg: 'attached',
    },
    { level: 'error', code: 'SLB_E_MAP_FULL', error: /slb_backends/ },
    { level: 'error', code: 'agent.fault', error: 'a bug', stack: /TypeError/ },
  ]);
  t.equal(written.length, 3, 'nothing below the level, nothing after the end');
  t.notOk('stack' in written[1]!);
  t.end();
});

t.test('log lines escape control characters', (t) => {
  let written = '';
  const stop = startLogging('info', 'node-a', {
    write: (line: string) => {
      written += line;
    },
  });
  const where = 'a.yaml:1\u001b[2J\u009b31m\u202e\r\n\u2028';
  publish('source.problem', { where, field: '', message: where });
  stop();
  t.notMatch(written, /[^\P{C}\n]|\p{Zl}/u);
  t.match(JSON.parse(written), { where, message: where });
  t.equal(written.split('\n').length, 2, 'one line');
  t.end();
});

t.test('recent errors: newest first, only so many', (t) => {
  const { now, pass } = clock();
  const recent = keepRecentErrors(now);
  t.teardown(recent.stop);
  for (let index = 0; index < 30; index++) {
    publish('sync.failed', { error: new SluiceError('SLB_E_MAP', `failure ${String(index)}`), retryMs: 1 });
    pass(1);
  }
  t.equal(recent.list().length, 20);
  t.match(recent.list()[0], { code: 'SLB_E_MAP', message: 'failure 29' });
  t.end();
});

t.test('Prometheus text', (t) => {
  const labels = formatLabels({ service: 'a"b\\c\nd', port: '' });
  t.equal(labels, '{service="a\\"b\\\\c\\nd",port=""}');
  t.equal(
    formatMetric('x_total', 'counter', 'some', [
      [labels, 1],
      ['', Infinity],
    ]),
    `# HELP x_total some\n# TYPE x_total counter\nx_total${labels} 1\nx_total +Inf\n`,
  );
  const histogram = new Histogram([0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 7]) histogram.observe(value);
  t.equal(
    formatHistogram('h', 'time', [
      ['', histogram],
      ['{a="b"}', new Histogram([1])],
    ]),
    [
      '# HELP h time',
      '# TYPE h histogram',
      'h_bucket{le="0.1"} 2',
      'h_bucket{le="1"} 3',
      'h_bucket{le="+Inf"} 4',
      'h_sum 7.65',
      'h_count 4',
      'h_bucket{a="b",le="1"} 0',
      'h_bucket{a="b",le="+Inf"} 0',
      'h_sum{a="b"} 0',
      'h_count{a="b"} 0',
      '',
    ].join('\n'),
  );
  t.end();
});
