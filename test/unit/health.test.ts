import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import t from 'tap';
import { SluiceError } from '../../src/errors.ts';
import { isNodeEligible, liveAnswers } from '../../src/health/live.ts';
import { metricsAnswers } from '../../src/health/metrics.ts';
import { HealthServer } from '../../src/health/server.ts';
import { trackSync } from '../../src/health/sync.ts';
import { listen, publish } from '../../src/observe/channels.ts';
import { startLogging } from '../../src/observe/log.ts';
import { formatLabels, formatMetric, Histogram } from '../../src/observe/prometheus.ts';
import { keepRecentErrors } from '../../src/observe/recent.ts';

function clock(start = '2026-01-01T00:00:00.000Z') {
  let time = Date.parse(start);
  return { now: () => new Date(time), pass: (seconds: number) => (time += seconds * 1_000) };
}

t.test('S-95: healthy until an update has waited for more than a minute', (t) => {
  const { now, pass } = clock();
  const sync = trackSync(now);
  t.ok(sync.healthy, 'just started, nothing queued');
  sync.queued();
  pass(3_600);
  t.ok(sync.healthy, 'never synced yet: nothing to judge');
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

t.test('S-96: a node that leaves is not eligible', (t) => {
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
    const { status, type, body } = await answers[path]!();
    t.equal(type, 'application/json');
    return { status, body: JSON.parse(body) as Record<string, unknown> };
  };
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

t.test('S-98: the metrics address', async (t) => {
  const server = new HealthServer(
    'metrics',
    { host: '127.0.0.1', port: 0 },
    metricsAnswers(() => Promise.resolve('up 1\n')),
  );
  const listening = new Promise<void>((resolve) => {
    t.teardown(
      listen('server.listening', ({ server: name }) => {
        if (name === 'metrics') resolve();
      }),
    );
  });
  server.start();
  t.teardown(() => server.stop());
  await listening;
  const get = async (path: string) => {
    const answer = await fetch(`http://${server.address()}${path}`);
    return [answer.status, await answer.text()];
  };
  t.same(await get('/metrics?x=1'), [200, 'up 1\n']);
  t.same(await get('/proxyMode'), [200, 'sluice']);
  t.same(await get('/healthz'), [200, 'ok']);
  t.same(await get('/constructor'), [404, 'not found\n']);
  await server.stop();
  await t.rejects(fetch(`http://${server.address()}/healthz`));
});

t.test('S-97: a port that is taken is said once, and no reason to stop', async (t) => {
  const taken = createServer();
  await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done));
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const heard = new Promise<{ error: unknown }>((resolve) => {
    t.teardown(listen('server.failed', resolve));
  });
  const server = new HealthServer('healthz', { host: '127.0.0.1', port }, {}).start();
  t.teardown(() => server.stop());
  t.match((await heard).error, { code: 'SLB_E_LISTEN', detail: /EADDRINUSE/ });
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
    histogram.format('h', 'time'),
    [
      '# HELP h time',
      '# TYPE h histogram',
      'h_bucket{le="0.1"} 2',
      'h_bucket{le="1"} 3',
      'h_bucket{le="+Inf"} 4',
      'h_sum 7.65',
      'h_count 4',
      '',
    ].join('\n'),
  );
  t.end();
});
