// Traffic of service ports as Prometheus text: the only metrics with a series for each Service.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { formatLabels, formatMetric, type Labels } from './prometheus.ts';

export interface TrafficCounters {
  readonly connections: number;
  readonly active: number;
  readonly packetsIn: number;
  readonly bytesIn: number;
  readonly packetsOut: number;
  readonly bytesOut: number;
  readonly refused: number;
}

/**
 * One service port in one family. Pass the same object as long as it has not changed: its label text is cached by
 * identity.
 */
export interface PortLabels extends Labels {
  readonly namespace: string;
  readonly service: string;
  readonly port: string;
  readonly protocol: string;
  readonly family: string;
}

export interface PortSample {
  readonly labels: PortLabels;
  readonly backends: number;
  readonly counters: TrafficCounters;
}

interface Series {
  readonly all: string;
  readonly in: string;
  readonly out: string;
}

export interface TrafficText {
  /** Yields to the event loop after each metric: ten thousand Services are megabytes of text. */
  format(ports: readonly PortSample[]): Promise<string>;
}

type Values = (sample: PortSample) => number;

interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly values: Readonly<Partial<Record<keyof Series, Values>>>;
}

const metrics: readonly Metric[] = [
  {
    name: 'sluice_service_backends',
    type: 'gauge',
    help: 'Backends that receive new connections.',
    values: { all: ({ backends }) => backends },
  },
  {
    name: 'sluice_service_connections_total',
    type: 'counter',
    help: 'Connections sent to a backend, those of socket hooks included.',
    values: { all: ({ counters }) => counters.connections },
  },
  {
    name: 'sluice_service_sockets_active',
    type: 'gauge',
    help: 'Open sockets of this node that socket hooks connected to a backend.',
    values: { all: ({ counters }) => counters.active },
  },
  {
    name: 'sluice_service_packets_total',
    type: 'counter',
    help: 'Packets translated; in: client to backend. Those of socket hooks need no translation and are not counted.',
    values: { in: ({ counters }) => counters.packetsIn, out: ({ counters }) => counters.packetsOut },
  },
  {
    name: 'sluice_service_bytes_total',
    type: 'counter',
    help: 'Bytes translated, IP headers included; of TCP sockets of socket hooks their payload, added at close.',
    values: { in: ({ counters }) => counters.bytesIn, out: ({ counters }) => counters.bytesOut },
  },
  {
    name: 'sluice_service_refused_packets_total',
    type: 'counter',
    help: 'Packets and connect() calls for the Service that were rejected or dropped instead of sent to a backend.',
    values: { all: ({ counters }) => counters.refused },
  },
];

export function createTrafficText(): TrafficText {
  const known = new WeakMap<PortLabels, Series>();
  const seriesOf = (labels: PortLabels): Series => {
    const found = known.get(labels);
    if (found !== undefined) return found;
    const series = {
      all: formatLabels(labels),
      in: formatLabels({ ...labels, direction: 'in' }),
      out: formatLabels({ ...labels, direction: 'out' }),
    };
    known.set(labels, series);
    return series;
  };
  return {
    format: async (ports) => {
      let text = '';
      for (const metric of metrics) {
        text += formatMetric(metric.name, metric.type, metric.help, samples(metric, ports, seriesOf));
        await nextTurn();
      }
      return text;
    },
  };
}

function* samples(
  { values }: Metric,
  ports: readonly PortSample[],
  seriesOf: (labels: PortLabels) => Series,
): Generator<readonly [string, number]> {
  for (const port of ports) {
    const series = seriesOf(port.labels);
    for (const which of ['all', 'in', 'out'] as const) {
      const value = values[which];
      if (value !== undefined) yield [series[which], value(port)];
    }
  }
}
