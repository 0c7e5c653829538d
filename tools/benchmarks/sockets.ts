// docs/benchmarks/sockets.md: connections and datagrams between processes, without a proxy, with kube-proxy and with
// Sluice.
import { ceiling, type Contender, type Figure } from '../../bench/comparison.ts';
import { chunkBytes, type Work } from '../../bench/load.ts';
import { describe, page, section, table } from './document.ts';
import type { Results } from './results.ts';

const contenders: Readonly<Record<Contender, string>> = {
  'none pod': 'pod, no proxy',
  'nftables pod': 'pod, kube-proxy runs',
  'packets pod': 'pod, packet path runs',
  'hooks pod': 'pod, socket hooks run',
  'hooks service': 'Service, socket hooks',
  'packets service': 'Service, packet path',
  'nftables service': 'Service, kube-proxy',
};

const works: Readonly<Record<Work, { readonly title: string; readonly unit: (ns: number) => string }>> = {
  connection: { title: 'TCP connection: connect, a byte each way, close (µs)', unit: micro },
  connected: { title: 'UDP round trip, connected socket (µs)', unit: micro },
  unconnected: { title: 'UDP round trip, sendto() and recvfrom() (µs)', unit: micro },
  bulk: {
    title: 'TCP throughput of one connection (Gbit/s)',
    unit: (ns) => ((chunkBytes * 8) / ns).toFixed(1),
  },
  connect: { title: 'connect() of a UDP socket (µs)', unit: micro },
  socket: { title: 'socket() and close() (µs)', unit: micro },
  sendto: { title: 'sendto() alone (µs)', unit: micro },
  recvfrom: { title: 'recvfrom() alone (µs)', unit: micro },
};

export function micro(ns: number): string {
  return (ns / 1000).toFixed(ns < 10_000 ? 2 : 1);
}

export function socketsPage(): string {
  return page(
    'Sockets',
    'What a connection or a datagram costs between two processes that dial a pod or a Service, with kube-proxy (nftables mode), with the packet path of ' +
      'Sluice, and with its socket hooks. The overview is in [Benchmarks](../benchmarks.md).',
    section('sockets', 'Results', showSockets),
  );
}

/** A table a work: who dials what across, from and to down. */
function showSockets({ method, figures }: Results['sockets']): string {
  const explained =
    'Columns: what is dialled, a pod’s own address or a Service’s, and what runs on the nodes. Behind a figure: its speed relative to ' +
    `“${contenders[ceiling]}” in the same round, median and quartiles; above 1 is faster.`;
  const tables = [...new Set(figures.map(({ work }) => work))].map((work) => tableOf(work, figures));
  return [explained, ...tables, `${describe(method)}.`].join('\n\n');
}

function tableOf(work: Work, figures: readonly Figure[]): string {
  const all = figures.filter((figure) => figure.work === work);
  const columns = (Object.keys(contenders) as Contender[]).filter((one) => all[0]?.scores[one]);
  const rows = all.map((figure) => [
    `${figure.road}, IPv${String(figure.family)}, ${String(figure.services)} services`,
    ...columns.map((one) => cell(figure, one)),
  ]);
  return `### ${works[work].title}\n\n${table(['from, to', ...columns.map((one) => contenders[one])], rows)}`;
}

function cell({ work, scores }: Figure, one: Contender): string {
  const score = scores[one];
  if (score === undefined) return '';
  const { ns, ratio, low, high } = score;
  const beside = ` · ${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
  return `${works[work].unit(ns)}${one === ceiling ? '' : beside}`;
}
