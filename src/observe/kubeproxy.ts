// kube-proxy's metrics under its names, labels and buckets (S-99, S-100), so that its dashboards and alerts need no
// change. Those of its iptables, nftables and conntrack modes are left out.
import { listen } from './channels.ts';
import { formatHistogram, formatLabels, formatMetric, Histogram, increment, seriesOf } from './prometheus.ts';

/** Service ports whose traffic is dropped because their endpoints are on other nodes (S-50), by policy and family. */
export interface NoLocalCounts {
  readonly internal: Readonly<Record<FamilyName, number>>;
  readonly external: Readonly<Record<FamilyName, number>>;
}

export type FamilyName = 'IPv4' | 'IPv6';

export interface KubeProxyMetrics {
  text(): string;
  /** kubernetes_healthcheck of /metrics/slis. */
  healthchecks(): string;
  stop(): void;
}

const families = ['IPv4', 'IPv6'] as const;
const familyLabels = families.map((ip_family) => formatLabels({ ip_family }));

// 1 ms doubling to 16 s.
export const syncBounds = Array.from({ length: 15 }, (_, power) => 0.001 * 2 ** power);

function steps(first: number, width: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => first + index * width);
}
const latencyBounds = [
  ...steps(0.25, 0.25, 2),
  ...steps(1, 1, 59),
  ...steps(60, 5, 12),
  ...steps(120, 30, 7),
];
const requestBounds = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

interface State {
  readonly syncs: Histogram;
  readonly fullSyncs: Histogram;
  readonly partialSyncs: Histogram;
  readonly latency: Record<FamilyName, Histogram>;
  readonly endpoints: Changes;
  readonly services: Changes;
  readonly healthz: Map<string, number>;
  readonly livez: Map<string, number>;
  readonly requests: Map<string, number>;
  readonly requestTimes: Map<string, Histogram>;
  queuedAt: number | undefined; // seconds since the epoch
  writtenAt: number | undefined;
  healthchecks: number;
}

interface Changes {
  total: number;
  pending: number;
}

function createState(): State {
  return {
    syncs: new Histogram(syncBounds),
    fullSyncs: new Histogram(syncBounds),
    partialSyncs: new Histogram(syncBounds),
    latency: { IPv4: new Histogram(latencyBounds), IPv6: new Histogram(latencyBounds) },
    endpoints: { total: 0, pending: 0 },
    services: { total: 0, pending: 0 },
    healthz: new Map(),
    livez: new Map(),
    requests: new Map(),
    requestTimes: new Map(),
    queuedAt: undefined,
    writtenAt: undefined,
    healthchecks: 0,
  };
}

/** `now` in milliseconds since the epoch. */
export function startKubeProxyMetrics(noLocal: () => NoLocalCounts, now: () => number): KubeProxyMetrics {
  const state = createState();
  const stops = [...listenToChanges(state, now), ...listenToRequests(state)];
  return {
    text: () => formatSyncs(state) + formatChanges(state) + formatNoLocal(noLocal()) + formatRequests(state),
    healthchecks: () => formatHealthchecks(++state.healthchecks),
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}

function listenToChanges(state: State, now: () => number): (() => void)[] {
  return [
    listen('source.changed', ({ services, slices }) => {
      note(state.services, services);
      note(state.endpoints, slices);
    }),
    listen('services.queued', () => (state.queuedAt = now() / 1_000)),
    listen('services.written', () => {
      state.writtenAt = now() / 1_000;
      state.services.pending = state.endpoints.pending = 0;
    }),
    listen('sync.done', ({ tookMs, first }) => {
      state.syncs.observe(tookMs / 1_000);
      (first ? state.fullSyncs : state.partialSyncs).observe(tookMs / 1_000);
    }),
    listen('endpoints.programmed', ({ family, tookMs }) => {
      state.latency[family === 4 ? 'IPv4' : 'IPv6'].observe(tookMs / 1_000);
    }),
  ];
}

function note(changes: Changes, count: number): void {
  changes.total += count;
  changes.pending += count;
}

function listenToRequests(state: State): (() => void)[] {
  return [
    listen('probe.answered', ({ probe, status }) => increment(state[probe], { code: String(status) })),
    listen('api.answered', ({ code, method, host, tookMs }) => {
      increment(state.requests, { code, host, method });
      if (tookMs === undefined) return;
      const series = seriesOf(state.requestTimes, { host, verb: method }, () => new Histogram(requestBounds));
      series.observe(tookMs / 1_000);
    }),
  ];
}

/** A write is of both families, so each has the same histogram. */
function bothFamilies(histogram: Histogram): [string, Histogram][] {
  return familyLabels.map((labels) => [labels, histogram]);
}

const rules = 'kubeproxy_sync_proxy_rules';

function formatSyncs({ syncs, fullSyncs, partialSyncs, latency }: State): string {
  return (
    formatHistogram(
      `${rules}_duration_seconds`,
      'Time from a change to its rows in the kernel.',
      bothFamilies(syncs),
    ) +
    formatHistogram(
      'kubeproxy_sync_full_proxy_rules_duration_seconds',
      'Time of the first write after the start, of all Services.',
      bothFamilies(fullSyncs),
    ) +
    formatHistogram(
      'kubeproxy_sync_partial_proxy_rules_duration_seconds',
      'Time of later writes, of changed Services.',
      bothFamilies(partialSyncs),
    ) +
    formatHistogram(
      'kubeproxy_network_programming_duration_seconds',
      'Time from a change of a pod to the moment packets meet it.',
      families.map((family) => [formatLabels({ ip_family: family }), latency[family]]),
    )
  );
}

function formatChanges({ queuedAt, writtenAt, endpoints, services }: State): string {
  const at = (time: number | undefined): [string, number][] =>
    time === undefined ? [] : familyLabels.map((labels) => [labels, time]);
  const counts = (kind: string, { pending, total }: Changes): string =>
    formatMetric(
      `${rules}_${kind}_changes_pending`,
      'gauge',
      `Number of ${kind} changes that wait to be written.`,
      [['', pending]],
    ) +
    formatMetric(`${rules}_${kind}_changes_total`, 'counter', `Number of ${kind} changes seen.`, [
      ['', total],
    ]);
  return (
    formatMetric(
      `${rules}_last_timestamp_seconds`,
      'gauge',
      'Time when all changes were last written.',
      at(writtenAt),
    ) +
    formatMetric(
      `${rules}_last_queued_timestamp_seconds`,
      'gauge',
      'Time when a change was last queued.',
      at(queuedAt),
    ) +
    counts('endpoint', endpoints) +
    counts('service', services)
  );
}

function formatNoLocal(counts: NoLocalCounts): string {
  return formatMetric(
    `${rules}_no_local_endpoints_total`,
    'gauge',
    'Number of service ports whose traffic is dropped because their endpoints are on other nodes.',
    (['internal', 'external'] as const).flatMap((traffic_policy) =>
      families.map((ip_family): [string, number] => [
        formatLabels({ ip_family, traffic_policy }),
        counts[traffic_policy][ip_family],
      ]),
    ),
  );
}

function formatRequests({ healthz, livez, requests, requestTimes }: State): string {
  return (
    formatMetric('kubeproxy_proxy_healthz_total', 'counter', 'Answers of /healthz by HTTP status.', healthz) +
    formatMetric('kubeproxy_proxy_livez_total', 'counter', 'Answers of /livez by HTTP status.', livez) +
    formatMetric(
      'rest_client_requests_total',
      'counter',
      'Requests to the API server by status, method and host.',
      requests,
    ) +
    formatHistogram(
      'rest_client_request_duration_seconds',
      'Time to the response header of requests to the API server, without watches.',
      requestTimes,
    )
  );
}

function formatHealthchecks(asked: number): string {
  const ping = { name: 'ping', type: 'healthz' };
  return (
    formatMetric('kubernetes_healthcheck', 'gauge', 'Result of a health check: 1 when it passed.', [
      [formatLabels(ping), 1],
    ]) +
    formatMetric('kubernetes_healthchecks_total', 'counter', 'Number of results of all health checks.', [
      [formatLabels({ ...ping, status: 'success' }), asked],
    ])
  );
}
