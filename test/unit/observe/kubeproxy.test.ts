// What the agent reports: metrics under kube-proxy's names, latencies, and Events.
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { SluiceError } from '../../../src/errors.ts';
import { recordEvents } from '../../../src/agent/kubeevents.ts';
import { listen, publish, type FactName, type Facts } from '../../../src/observe/channels.ts';
import { startKubeProxyMetrics, type NoLocalCounts } from '../../../src/observe/kubeproxy.ts';
import { ProgrammingLatency } from '../../../src/observe/latency.ts';
import { startMetrics } from '../../../src/observe/metrics.ts';
import type { ObjectEvent } from '../../../src/source/objects.ts';
import { systemClock } from '../../../src/source/kube/clock.ts';
import { KubeSource } from '../../../src/source/kube/source.ts';
import { triggerTimeOf } from '../../../src/source/parse/endpointslice.ts';
import { readExposition } from '../../../tools/metrics.ts';
import { FakeKube, refuse } from '../../support/kube/fakekube.ts';
import { meta, service, slice } from '../../support/kube/objects.ts';
import { until } from '../../support/run/process.ts';
import { RecordingSink } from '../../support/kube/sink.ts';

/** What is published under the name while the test runs. */
function record<Name extends FactName>(t: Test, name: Name): Facts[Name][] {
  const facts: Facts[Name][] = [];
  t.teardown(listen(name, (fact) => facts.push(fact)));
  return facts;
}

const none: NoLocalCounts = { internal: { IPv4: 0, IPv6: 0 }, external: { IPv4: 0, IPv6: 0 } };

function startKubeProxy(t: Test, noLocal: () => NoLocalCounts = () => none) {
  const clock = { ms: 1_000_000_000_000 };
  const metrics = startKubeProxyMetrics(noLocal, () => clock.ms);
  t.teardown(() => metrics.stop());
  const valueOf = (series: string): number | undefined => {
    const line = metrics
      .text()
      .split('\n')
      .find((text) => text.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
  return { clock, metrics, valueOf };
}

// As kube-proxy 1.34 registers them for every backend, and component-base for every program.
const kubeProxyMetrics: readonly (readonly [name: string, type: string, ...labels: string[]])[] = [
  ['kubeproxy_sync_proxy_rules_duration_seconds', 'histogram', 'ip_family'],
  ['kubeproxy_sync_full_proxy_rules_duration_seconds', 'histogram', 'ip_family'],
  ['kubeproxy_sync_partial_proxy_rules_duration_seconds', 'histogram', 'ip_family'],
  ['kubeproxy_network_programming_duration_seconds', 'histogram', 'ip_family'],
  ['kubeproxy_sync_proxy_rules_last_timestamp_seconds', 'gauge', 'ip_family'],
  ['kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds', 'gauge', 'ip_family'],
  ['kubeproxy_sync_proxy_rules_endpoint_changes_pending', 'gauge'],
  ['kubeproxy_sync_proxy_rules_endpoint_changes_total', 'counter'],
  ['kubeproxy_sync_proxy_rules_service_changes_pending', 'gauge'],
  ['kubeproxy_sync_proxy_rules_service_changes_total', 'counter'],
  ['kubeproxy_sync_proxy_rules_no_local_endpoints_total', 'gauge', 'ip_family', 'traffic_policy'],
  ['kubeproxy_proxy_healthz_total', 'counter', 'code'],
  ['kubeproxy_proxy_livez_total', 'counter', 'code'],
  ['rest_client_requests_total', 'counter', 'code', 'host', 'method'],
  ['rest_client_request_duration_seconds', 'histogram', 'host', 'verb'],
];

/** What its dashboards and alerts use besides (S-100). */
const processMetrics = [
  'process_resident_memory_bytes',
  'process_cpu_seconds_total',
  'process_start_time_seconds',
];

/** Samples belong to the metric whose head they follow, and no series comes twice. */
function faultsOf(text: string): string[] {
  const seen = new Set<string>();
  const faults: string[] = [];
  let current = '';
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const head = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) ./.exec(line);
    if (head !== null) {
      current = head[2] ?? '';
      if (seen.has(`${head[1] ?? ''} ${current}`)) faults.push(`twice: ${line}`);
      seen.add(`${head[1] ?? ''} ${current}`);
      continue;
    }
    const sample =
      /^([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\]|\\["\\n])*",?)*\})? (?:[-+]?[\d.]+(?:e[-+]?\d+)?|NaN|[-+]Inf)$/i;
    const [, name = '', labels = ''] = sample.exec(line) ?? [];
    if (name.replace(/_(bucket|sum|count)$/, '') !== current && name !== current)
      faults.push(`stray: ${line}`);
    if (seen.has(name + labels)) faults.push(`twice: ${line}`);
    seen.add(name + labels);
  }
  return faults;
}

t.test('a kube-proxy’s metrics: names, types, labels (S-99, S-100)', async (t) => {
  const counters = {
    connections: 1,
    active: 5,
    packetsIn: 1,
    bytesIn: 1,
    packetsOut: 1,
    bytesOut: 1,
    refused: 7,
  };
  const labels = { namespace: 'shop', service: 'a"\\b', port: '', protocol: 'TCP', family: 'IPv4' };
  const metrics = startMetrics(
    {
      ready: () => true,
      ports: () => [{ labels, backends: 1, counters }],
      verdicts: () => [{ hook: 'tc_in', verdict: 'REQUEST', packets: 1 }],
      packetCounts: () => [{ name: 'AFFINITY_KEPT', count: 3 }],
      maps: () => [],
      unprogrammed: () => 3,
      failingSince: () => undefined,
      nearlyFull: () => 1,
      flows: () => [],
      socketHooks: () => true,
      problems: () => 0,
      noLocal: () => none,
    },
    { version: '1', node: 'node-a' },
  );
  t.teardown(() => metrics.stop());
  publish('services.queued', { services: 1 });
  publish('services.written', { services: 1 });
  publish('probe.answered', { probe: 'healthz', status: 200 });
  publish('probe.answered', { probe: 'livez', status: 200 });
  publish('api.answered', { host: 'server:6443', method: 'GET', code: '200', tookMs: 3 });
  const text = await metrics.text();
  t.same(faultsOf(text), []);
  const found = readExposition(text);
  for (const [name, type, ...names] of kubeProxyMetrics) {
    const metric = found.find((one) => one.name === name);
    t.match({ ...metric, labels: [...(metric?.labels ?? [])].sort() }, { name, type, labels: names }, name);
  }
  for (const name of processMetrics) t.match(text, new RegExp(`^${name} `, 'm'));
  t.match(text, /^sluice_counters_total\{counter="AFFINITY_KEPT"\} 3$/m);
  t.match(text, /^sluice_events_total\{event="AFFINITY_KEPT"\} 3$/m);
  t.match(text, /^sluice_service_refused_packets_total\{.*\} 7$/m);
  t.match(text, /^sluice_service_sockets_active\{.*\} 5$/m);
  t.match(text, /^sluice_socket_hooks 1$/m);
  t.same(faultsOf(metrics.healthchecks()), []);
  t.match(
    metrics.healthchecks(),
    /^kubernetes_healthchecks_total\{name="ping",type="healthz",status="success"\} 2$/m,
  );
});

t.test('a kube-proxy’s histograms have its buckets (S-99, S-101)', (t) => {
  const { metrics } = startKubeProxy(t);
  const text = metrics.text();
  const buckets = (name: string): number[] =>
    [...text.matchAll(new RegExp(`^${name}_bucket\\{ip_family="IPv4",le="([^"+]+)"\\}`, 'gm'))].map(
      ([, le]) => Number(le),
    );
  const sync = buckets('kubeproxy_sync_proxy_rules_duration_seconds');
  t.equal(sync.length, 15);
  t.same([sync[0], sync[1], sync[14]], [0.001, 0.002, 16.384]);
  const latency = buckets('kubeproxy_network_programming_duration_seconds');
  t.same(latency.slice(0, 5), [0.25, 0.5, 1, 2, 3]);
  t.same(latency.slice(58, 64), [57, 58, 59, 60, 65, 70]);
  t.same(latency.slice(-8), [115, 120, 150, 180, 210, 240, 270, 300]);
  t.equal(latency.length, 2 + 59 + 12 + 7);
  t.end();
});

t.test('pending changes are counted until they are written; times of the latest (S-99)', (t) => {
  const { clock, valueOf } = startKubeProxy(t);
  const rules = 'kubeproxy_sync_proxy_rules';
  const counts = (): (number | undefined)[] =>
    [
      'service_changes_pending',
      'service_changes_total',
      'endpoint_changes_pending',
      'endpoint_changes_total',
    ].map((name) => valueOf(`${rules}_${name}`));
  const times = (): (number | undefined)[] =>
    ['last_queued_timestamp_seconds', 'last_timestamp_seconds'].map((name) =>
      valueOf(`${rules}_${name}{ip_family="IPv6"}`),
    );
  t.same(counts(), [0, 0, 0, 0]);
  t.same(times(), [undefined, undefined], 'a time that was never is none');
  publish('source.changed', { services: 2, slices: 3 });
  publish('services.queued', { services: 2 });
  t.same(counts(), [2, 2, 3, 3]);
  clock.ms += 1_500;
  publish('services.written', { services: 2 });
  publish('source.changed', { services: 0, slices: 1 });
  t.same(counts(), [0, 2, 1, 4]);
  t.same(times(), [1_000_000_000, 1_000_000_001.5]);
  t.end();
});

t.test('the first write is the full one, later ones are partial (S-99)', (t) => {
  const { valueOf } = startKubeProxy(t);
  const done = { services: 1, operations: 1 };
  publish('sync.done', { ...done, tookMs: 1_500, first: true });
  publish('sync.done', { ...done, tookMs: 4, first: false });
  publish('sync.done', { ...done, tookMs: 2, first: false });
  const of = (kind: string): (number | undefined)[] =>
    ['count', 'sum'].map((part) =>
      valueOf(`kubeproxy_sync_${kind}duration_seconds_${part}{ip_family="IPv4"}`),
    );
  t.same(of('proxy_rules_'), [3, 1.506]);
  t.same(of('full_proxy_rules_'), [1, 1.5]);
  t.same(of('partial_proxy_rules_'), [2, 0.006]);
  t.end();
});

t.test('traffic that is dropped for want of endpoints here (S-50)', (t) => {
  let counts = { internal: { IPv4: 2, IPv6: 0 }, external: { IPv4: 0, IPv6: 1 } };
  const { valueOf } = startKubeProxy(t, () => counts);
  const name = 'kubeproxy_sync_proxy_rules_no_local_endpoints_total';
  t.equal(valueOf(`${name}{ip_family="IPv4",traffic_policy="internal"}`), 2);
  t.equal(valueOf(`${name}{ip_family="IPv6",traffic_policy="external"}`), 1);
  counts = { internal: { IPv4: 0, IPv6: 0 }, external: { IPv4: 0, IPv6: 0 } };
  t.equal(valueOf(`${name}{ip_family="IPv4",traffic_policy="internal"}`), 0, 'and back');
  t.end();
});

t.test('the trigger time of a slice: RFC 3339, or nothing (S-32)', (t) => {
  const annotation = 'endpoints.kubernetes.io/last-change-trigger-time';
  const at = (text: string | undefined): number | undefined =>
    triggerTimeOf(
      slice('web-1', 'web', [], {
        meta: { ...meta('web-1'), annotations: text === undefined ? {} : { [annotation]: text } },
      }),
    );
  t.equal(at('2026-01-02T03:04:05Z'), Date.UTC(2026, 0, 2, 3, 4, 5));
  t.equal(at('2026-01-02T03:04:05.123456789Z'), Date.UTC(2026, 0, 2, 3, 4, 5, 123));
  t.equal(at('2026-01-02T04:04:05+01:00'), Date.UTC(2026, 0, 2, 3, 4, 5));
  for (const text of [undefined, '', 'yesterday', '2026-01-02', '1767323045', '2026-13-02T03:04:05Z'])
    t.equal(at(text), undefined, String(text));
  t.end();
});

t.test('one latency for each change of a slice, when its Service is written (S-101)', (t) => {
  const programmed = record(t, 'endpoints.programmed');
  const clock = { ms: 50_000 };
  const latency = new ProgrammingLatency(() => clock.ms);
  const change = (
    name: string,
    triggeredAt: number | undefined,
    service = 'shop/web',
    family: 4 | 6 = 4,
  ): void => latency.changed({ slice: `shop/${name}`, service, family, triggeredAt });
  const written = (...services: string[]): [string, number, number][] => {
    latency.written(new Set(services));
    return programmed.splice(0).map(({ service: of, family, tookMs }) => [of, family, tookMs]);
  };
  change('old', 49_000);
  change('silent', undefined);
  t.same(written('shop/web'), [], 'before the start, or not said');
  change('a', 51_000);
  change('b', 52_000, 'shop/web', 6);
  change('c', 51_500, 'shop/db');
  clock.ms = 53_000;
  t.same(written('shop/db'), [['shop/db', 4, 1_500]], 'only of what is written');
  clock.ms = 60_000;
  t.same(
    written('shop/web', 'shop/db'),
    [
      ['shop/web', 4, 9_000],
      ['shop/web', 6, 8_000],
    ],
    'all the time that passed in between, once',
  );
  t.same(written('shop/web', 'shop/db'), []);
  change('a', 51_000);
  t.same(written('shop/web'), [], 'the same change once more, as after an edit of a label');
  change('a', 61_000);
  latency.removed('shop/old');
  t.same(written('shop/web'), [], 'a slice of the service has gone meanwhile');
  change('b', 62_000);
  change('b', 63_000, 'shop/heir');
  clock.ms = 64_000;
  t.same(written('shop/web', 'shop/heir'), [['shop/heir', 4, 1_000]], 'a slice that changed its service');
  change('a', 99_000);
  t.same(written('shop/web'), [['shop/web', 4, 0]], 'a clock that is ahead of ours');
  t.end();
});

const node = { kind: 'Node', namespace: '', name: 'node-a', uid: 'node-a' };

t.test('reports become Events of the object they concern (S-109, S-94, S-97)', (t) => {
  const events: ObjectEvent[] = [];
  const web = { ...service('web', ['10.96.0.1']), meta: { ...meta('web'), uid: 'uid-7' } };
  const stop = recordEvents({
    nodeName: 'node-a',
    source: { record: (event) => events.push(event) },
    store: { service: (key) => (key === 'shop/web' ? web : undefined) },
  });
  const error = new SluiceError('SLB_E_LISTEN', 'healthCheckNodePort [::]:32001: EADDRINUSE');
  publish('server.failed', {
    server: 'healthCheckNodePort',
    address: '[::]:32001',
    error,
    service: 'shop/web',
  });
  publish('server.failed', { server: 'healthz', address: '0.0.0.0:10256', error });
  publish('server.failed', { server: 'metrics', address: '127.0.0.1:10249', error });
  publish('server.failed', { server: 'something else', address: '127.0.0.1:1', error });
  stop();
  publish('server.failed', { server: 'healthz', address: '0.0.0.0:10256', error });
  t.match(events, [
    { type: 'Normal', reason: 'Starting', regarding: node },
    {
      type: 'Warning',
      reason: 'FailedToStartServiceHealthcheck',
      note: /node-a.*32001.*EADDRINUSE/,
      regarding: { kind: 'Service', namespace: 'shop', name: 'web', uid: 'uid-7' },
    },
    { type: 'Warning', reason: 'FailedToStartProxierHealthcheck', regarding: node },
    { type: 'Warning', reason: 'FailedToStartMetricServer', regarding: node },
  ]);
  t.equal(events.length, 4);
  t.end();
});

interface Posted {
  readonly url: string;
  readonly type: string | undefined;
  readonly body: Record<string, unknown>;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
  return body;
}

/** An API server that notes what is posted, and a source that has not been started. */
async function startLab(t: Test, answer: (response: ServerResponse) => void) {
  const kube = new FakeKube();
  const posted: Posted[] = [];
  kube.intercept = (_query, response, request) => {
    if (request.method !== 'POST') return false;
    void bodyOf(request).then((body) => {
      const { url = '', headers } = request;
      posted.push({ url, type: headers['content-type'], body: JSON.parse(body) as Posted['body'] });
      answer(response);
    });
    return true;
  };
  await kube.start();
  const folder = await mkdtemp(path.join(tmpdir(), 'observe-'));
  const kubeconfig = path.join(folder, 'kubeconfig');
  await kube.writeKubeconfig(kubeconfig);
  const clock = { ms: 0 };
  const source = new KubeSource({
    kubeconfig,
    nodeName: 'node-a',
    clock: { ...systemClock, now: () => clock.ms },
  });
  t.teardown(async () => {
    await source.stop();
    await kube.stop();
    await rm(folder, { recursive: true });
  });
  return { kube, posted, source, clock };
}

const accept = (response: ServerResponse): void => void response.writeHead(201).end('{}');
const starting: ObjectEvent = {
  type: 'Normal',
  reason: 'Starting',
  action: 'StartSluice',
  note: 'é'.repeat(600),
  regarding: { kind: 'Node', namespace: '', name: 'node-a', uid: 'node-a' },
};

t.test('an event as the API server takes it (S-109)', async (t) => {
  const { posted, source } = await startLab(t, accept);
  source.record(starting);
  const regarding = { kind: 'Service', namespace: 'shop', name: 'w'.repeat(253), uid: 'uid-7' } as const;
  source.record({ ...starting, note: 'short', regarding });
  await until('both events', () => posted.length === 2);
  const [ofNode, ofService] = [...posted].sort((x, y) => x.url.localeCompare(y.url));
  t.match(ofNode, {
    url: '/apis/events.k8s.io/v1/namespaces/default/events',
    type: 'application/json',
    body: {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: /^node-a\.[0-9a-f]+$/, namespace: 'default' },
      eventTime: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/,
      reportingController: 'sluice',
      reportingInstance: 'sluice-node-a',
      type: 'Normal',
      reason: 'Starting',
      action: 'StartSluice',
      regarding: { apiVersion: 'v1', ...node },
    },
  });
  t.ok(Buffer.byteLength(String(ofNode?.body['note'])) <= 1_024, 'more is refused');
  t.match(ofService?.url, '/namespaces/shop/');
  const { name } = ofService?.body['metadata'] as { name: string };
  t.ok(name.length <= 253, 'a name that is allowed');
  t.match(ofService?.body, { note: 'short', regarding: { name: regarding.name } });
});

t.test('events are limited in rate (S-109)', async (t) => {
  const { posted, source, clock } = await startLab(t, accept);
  for (let i = 0; i < 100; i++) source.record(starting);
  await until('a burst of events', () => posted.length === 25);
  clock.ms += 10_000;
  source.record(starting);
  source.record(starting);
  await until('one more', () => posted.length === 26);
  t.equal(
    new Set(posted.map(({ body }) => (body['metadata'] as { name: string }).name)).size,
    26,
    'each its name',
  );
});

t.test('an event that is refused, or not answered, is only logged (S-109)', async (t) => {
  const failed = record(t, 'event.failed');
  const { kube, source } = await startLab(t, (response) =>
    refuse(response, 403, 'Forbidden', 'events is forbidden'),
  );
  source.record(starting);
  await until('the refusal', () => failed.length === 1);
  t.match(failed, [{ reason: 'Starting', detail: /forbidden.*ClusterRole/ }]);
  await kube.stop();
  source.record(starting);
  await until('the failure', () => failed.length === 2);
  t.match(failed[1], { detail: /ECONN/ });
});

t.test('requests to the API server are counted; a watch has no duration (S-99)', async (t) => {
  const answered = record(t, 'api.answered');
  const { kube, source } = await startLab(t, accept);
  kube.watchLists = false;
  await source.start(new RecordingSink());
  source.record(starting);
  const host = `127.0.0.1:${kube.port}`;
  const find = (method: string, code: string, timed: boolean): boolean =>
    answered.some(
      (fact) =>
        fact.method === method &&
        fact.code === code &&
        (fact.tookMs !== undefined) === timed &&
        fact.host === host,
    );
  await until(
    'requests of every kind',
    () => find('GET', '200', true) && find('GET', '200', false) && find('POST', '201', true),
  );
  t.ok(find('GET', '422', false), 'a watch that is refused is a watch');
  await kube.stop();
  await until('the failure', () => answered.some(({ code }) => code === '<error>'));
  t.pass('a server that is gone is counted too');
});
