// docs/benchmarks/packets.md: what a packet costs in the programs.
import type { Figure as Packet } from '../../bench/datapath.ts';
import { describe, page, round, section, table } from './document.ts';
import type { Results } from './results.ts';

export function packetsPage(): string {
  return page(
    'Packets',
    'What the programs add to a packet, by kind of packet, hook and number of flows. The overview is in [Benchmarks](../benchmarks.md).',
    [
      ...section('datapath', 'Cost of a packet', showPackets),
      ...section('connections', 'Cost of a connection', showConnections),
      ...section('before', 'Comparison with an earlier version', showBefore),
    ],
  );
}

const nameOf = ({ case: what, hook, family }: Pick<Packet, 'case' | 'hook' | 'family'>): string =>
  `${what}, ${hook}, IPv${String(family)}`;

/** Numbers of flows across, cases down. */
function showPackets({ method, figures }: Results['datapath']): string {
  const flows = [...new Set(figures.map((figure) => figure.flows))];
  const rows = [...new Set(figures.map(nameOf))].map((row) => [
    row,
    ...flows.map((count) => {
      const found = figures.find((figure) => nameOf(figure) === row && figure.flows === count);
      return found === undefined ? '' : `${round(found.median)} (${round(found.min)}–${round(found.max)})`;
    }),
  ]);
  const floors = figures.map(({ floor }) => floor);
  const floor = `The empty wrapper, which is subtracted, took ${round(Math.min(...floors))} to ${round(Math.max(...floors))} ns.`;
  return `${table(['ns, by flows', ...flows.map(String)], rows)}\n\n${describe(method)}. ${floor}`;
}

function showConnections({ method, figures }: Results['connections']): string {
  const us = (ns: number): string => (ns / 1000).toFixed(1);
  const rows = figures.map(({ road, family, services, direct, service, ratio }) => [
    `${road}, IPv${String(family)}`,
    String(services),
    us(direct),
    us(service),
    ratio.toFixed(2),
  ]);
  const head = ['from, to', 'services', 'direct, µs', 'service, µs', 'direct / service'];
  return `${table(head, rows)}\n\n${describe(method)}`;
}

/** Ratios with their quartiles, numbers of flows across, cases down. */
function showBefore({ method, base, ratios }: Results['before']): string {
  const flows = [...new Set(ratios.map((ratio) => ratio.flows))];
  const rows = [...new Set(ratios.map(nameOf))].map((row) => [
    row,
    ...flows.map((count) => {
      const found = ratios.find((ratio) => nameOf(ratio) === row && ratio.flows === count);
      if (found === undefined) return '';
      const { ratio, low, high } = found;
      return `${ratio.toFixed(2)} (${low.toFixed(2)}–${high.toFixed(2)})`;
    }),
  ]);
  return `${table([`ratio to ${base}, by flows`, ...flows.map(String)], rows)}\n\n${describe(method)}.`;
}
