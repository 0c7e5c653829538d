// Prometheus metrics: facts counted here, the contents of maps read when asked for, and the process itself by
// prom-client.
import { collectDefaultMetrics, Registry } from 'prom-client';
import { listen } from './channels.ts';
import { startKubeProxyMetrics, syncBounds, type NoLocalCounts } from './kubeproxy.ts';
import { formatHistogram, formatLabels, formatMetric, Histogram } from './prometheus.ts';
import { countSockets } from './sockets.ts';
import { createTrafficText, type PortSample } from './traffic.ts';

/** Values that are read each time Prometheus asks. */
export interface MetricsSource {
  ready(): boolean;
  ports(): readonly PortSample[];
  verdicts(): readonly { readonly hook: string; readonly verdict: string; readonly packets: number }[];
  packetCounts(): readonly { readonly name: string; readonly count: number }[];
  maps(): readonly {
    readonly name: string;
    readonly used: number;
    readonly size: number;
    readonly bound: number;
  }[];
  flows(): readonly { readonly family: string; readonly table: string; readonly entries: number }[];
  /** Services that are not programmed, or not in their latest state. */
  unprogrammed(): number;
  /** Since when the kernel has refused writes; undefined: it does not. */
  failingSince(): Date | undefined;
  /** How many maps are at least 80 % full. */
  nearlyFull(): number;
  /** Whether socket hooks are attached. */
  socketHooks(): boolean;
  problems(): number;
  noLocal(): NoLocalCounts;
}

export interface Metrics {
  text(): Promise<string>;
  /** What /metrics/slis of a kube-proxy shows (S-98). */
  healthchecks(): string;
  stop(): void;
}

export function startMetrics(source: MetricsSource, build: { version: string; node: string }): Metrics {
  const register = new Registry();
  collectDefaultMetrics({ register }); // with event-loop lag and garbage collection
  const syncs = countSyncs();
  const sockets = countSockets();
  const traffic = createTrafficText();
  const kubeProxy = startKubeProxyMetrics(() => source.noLocal(), Date.now);
  return {
    text: async () => {
      const own = `${formatAgent(source, build)}${formatProgramming(source)}${syncs.text()}${sockets.text()}${formatTables(source)}${kubeProxy.text()}`;
      return `${own}${await traffic.format(source.ports())}${await register.metrics()}`;
    },
    healthchecks: () => kubeProxy.healthchecks(),
    stop: () => {
      syncs.stop();
      sockets.stop();
      kubeProxy.stop();
      register.clear();
    },
  };
}

function countSyncs(): { text(): string; stop(): void } {
  const durations = new Histogram(syncBounds);
  let failures = 0;
  let operations = 0;
  const stops = [
    listen('sync.done', (fact) => {
      durations.observe(fact.tookMs / 1_000);
      operations += fact.operations;
    }),
    listen('sync.failed', () => failures++),
  ];
  return {
    text: () =>
      formatHistogram(
        'sluice_sync_duration_seconds',
        'Time from a change to all of its rows in the kernel.',
        [['', durations]],
      ) +
      formatMetric('sluice_sync_failures_total', 'counter', 'Writes that failed and were tried again.', [
        ['', failures],
      ]) +
      formatMetric('sluice_sync_operations_total', 'counter', 'Rows written or deleted.', [['', operations]]),
    stop: () => {
      for (const stop of stops) stop();
    },
  };
}

function formatAgent(source: MetricsSource, build: { version: string; node: string }): string {
  return (
    formatMetric('sluice_build_info', 'gauge', 'Version and node of the agent.', [[formatLabels(build), 1]]) +
    formatMetric('sluice_ready', 'gauge', '1 when all Services listed at start are in the kernel.', [
      ['', source.ready() ? 1 : 0],
    ]) +
    formatMetric(
      'sluice_socket_hooks',
      'gauge',
      '1 when socket hooks are attached, 0 when packets alone are translated.',
      [['', source.socketHooks() ? 1 : 0]],
    ) +
    formatMetric('sluice_source_problems', 'gauge', 'Objects, or parts of objects, that are not used.', [
      ['', source.problems()],
    ])
  );
}

function formatProgramming(source: MetricsSource): string {
  const since = source.failingSince();
  const failingSec = since === undefined ? 0 : (Date.now() - since.getTime()) / 1_000;
  return (
    formatMetric(
      'sluice_services_not_programmed',
      'gauge',
      'Services that are not programmed; the status names them.',
      [['', source.unprogrammed()]],
    ) +
    formatMetric(
      'sluice_sync_failing_seconds',
      'gauge',
      'For how long the kernel has refused writes; 0 when it does not.',
      [['', failingSec]],
    ) +
    formatMetric(
      'sluice_map_nearly_full',
      'gauge',
      'Maps that are at least 80 % full and evict nothing by themselves.',
      [['', source.nearlyFull()]],
    )
  );
}

/** Under its old name too, in this version. */
function formatVerdicts(source: MetricsSource): string {
  const verdicts = source
    .verdicts()
    .map(({ hook, verdict, packets }) => [formatLabels({ hook, verdict }), packets] as const);
  return (
    formatMetric(
      'sluice_verdicts_total',
      'counter',
      'Packets by hook and verdict; at hook sock, system calls.',
      verdicts,
    ) + formatMetric('slb_verdicts_total', 'counter', 'Deprecated: use sluice_verdicts_total.', verdicts)
  );
}

/** Under its old name too, for this version. */
function formatPacketCounts(source: MetricsSource): string {
  const counts = source.packetCounts();
  return (
    formatMetric(
      'sluice_counters_total',
      'counter',
      'Counters of the data path besides verdicts.',
      counts.map(({ name, count }) => [formatLabels({ counter: name }), count]),
    ) +
    formatMetric(
      'sluice_events_total',
      'counter',
      'Deprecated: use sluice_counters_total.',
      counts.map(({ name, count }) => [formatLabels({ event: name }), count]),
    )
  );
}

function formatTables(source: MetricsSource): string {
  return (
    formatVerdicts(source) +
    formatPacketCounts(source) +
    formatFill(source) +
    formatMetric(
      'sluice_flows',
      'gauge',
      'Flow entries by family and map; a connection has two.',
      source.flows().map(({ family, table, entries }) => [formatLabels({ family, table }), entries]),
    )
  );
}

function formatFill(source: MetricsSource): string {
  const maps = source.maps().map(({ name, ...rows }) => ({ labels: formatLabels({ map: name }), ...rows }));
  return (
    formatMetric(
      'sluice_map_entries',
      'gauge',
      'Rows of the map in use.',
      maps.map(({ labels, used }) => [labels, used]),
    ) +
    formatMetric(
      'sluice_map_capacity',
      'gauge',
      'Rows that fit into the map now.',
      maps.map(({ labels, size }) => [labels, size]),
    ) +
    formatMetric(
      'sluice_map_bound',
      'gauge',
      'Rows that the map may grow to.',
      maps.map(({ labels, bound }) => [labels, bound]),
    )
  );
}
