// docs/benchmarks.md: what a reader asks first, from the kept results, and the benches of the agent.
import type { Contender } from '../../bench/comparison.ts';
import { page, round, section, table } from './document.ts';
import { read, type Results } from './results.ts';
import { micro } from './sockets.ts';

type Answer = readonly [question: string, figure: string, page: string];

export function overviewPage(): string {
  const answers = [...packetAnswers(), ...socketAnswers(), ...agentAnswers()];
  const summary = `## Summary\n\n${table(['question', 'figure', 'details'], answers)}`;
  return page(
    'Benchmarks',
    'What packets, connections and changes of Services cost. Each figure comes from a command of this repository, run on the machine named beside it; on another ' +
      'machine only ratios carry over. `npm run bench -- NAME --json` measures anew, `npm run docs` writes these pages.',
    [
      summary,
      ...section('sync', 'Programming Services', showSync),
      ...section('attach', 'Attaching to a new pod', showAttach),
      ...section('ports', 'Masqueraded connections to one backend', showPorts),
    ],
  );
}

const atFlows = [1024, 262_144] as const;

/** Medians of packets of known flows at tc ingress. */
function packetAnswers(): readonly Answer[] {
  const figures = read('datapath')?.result.figures ?? [];
  const known = figures.filter(
    ({ case: what, hook, family }) => what === 'established' && hook === 'tcIn' && family === 4,
  );
  return atFlows.flatMap((flows): Answer[] => {
    const found = known.find((figure) => figure.flows === flows);
    if (found === undefined) return [];
    const question = `Packet of an established connection, tc ingress, IPv4, ${String(flows)} flows`;
    return [[question, `${round(found.median)} ns`, '[packets](benchmarks/packets.md)']];
  });
}

const compared: readonly (readonly [Contender, string])[] = [
  ['none pod', 'no proxy'],
  ['hooks service', 'socket hooks'],
  ['packets service', 'packet path'],
  ['nftables service', 'kube-proxy'],
];

/** A TCP connection to a Service as each proxy serves it, with most Services that were measured. */
function socketAnswers(): readonly Answer[] {
  const figures = read('sockets')?.result.figures ?? [];
  const connections = figures.filter(({ work, family }) => work === 'connection' && family === 4);
  const most = Math.max(...connections.map(({ services }) => services));
  return connections
    .filter(({ services }) => services === most)
    .map(({ road, scores }) => {
      const parts = compared.flatMap(([one, name]) => {
        const score = scores[one];
        return score === undefined ? [] : [`${name} ${micro(score.ns)}`];
      });
      const question = `TCP connection, ${road}, IPv4, ${String(most)} Services`;
      return [question, `${parts.join(', ')} µs`, '[sockets](benchmarks/sockets.md)'] as const;
    });
}

function agentAnswers(): readonly Answer[] {
  return [
    ...answersOf('sync', '[below](#programming-services)', (result) => {
      const load = `${String(result.services)} Services × ${String(result.endpointsPerService)} endpoints`;
      const { medianMs, p99Ms } = result.oneChange;
      return [
        [`One change among ${load}, to the kernel`, `median ${String(medianMs)} ms, p99 ${String(p99Ms)} ms`],
        [`${load}, to the kernel`, `${round(result.listToProgrammedMs)} ms`],
      ];
    }),
    ...answersOf('attach', '[below](#attaching-to-a-new-pod)', ({ medianMs, p99Ms }) => [
      ['New pod device, to its program', `median ${String(medianMs)} ms, p99 ${String(p99Ms)} ms`],
    ]),
    ...answersOf('ports', '[below](#masqueraded-connections-to-one-backend)', ({ openedPerSec, noPort }) => [
      [
        'Masqueraded connections from one address to one backend',
        `${String(openedPerSec)} a second, ${String(noPort)} without a port`,
      ],
    ]),
  ];
}

function answersOf<Name extends keyof Results>(
  bench: Name,
  details: string,
  answer: (result: Results[Name]) => readonly (readonly [question: string, figure: string])[],
): readonly Answer[] {
  const document = read(bench);
  return document === undefined ? [] : answer(document.result).map((both) => [...both, details] as const);
}

function showSync(result: Results['sync']): string {
  const { oneChange, rssMb } = result;
  const rows = [
    [
      'from list to programmed',
      `${round(result.listToProgrammedMs)} ms, ${round(result.listCpuMs)} ms of CPU`,
    ],
    ['the same over full tables, as after a restart', `${round(result.restartToProgrammedMs)} ms`],
    [
      'one change to programmed',
      `median ${String(oneChange.medianMs)} ms, p99 ${String(oneChange.p99Ms)} ms, maximum ${String(oneChange.maxMs)} ms`,
    ],
    ['longest block of the event loop', `${round(result.longestLoopBlockMs)} ms`],
    [
      'resident memory',
      `${round(rssMb.before)} MB before, ${round(rssMb.peak)} MB peak, ${round(rssMb.after)} MB after`,
    ],
    ['Maglev tables in the kernel', `${String(result.maglevMb)} MB`],
  ];
  const load = `${String(result.services)} Services × ${String(result.endpointsPerService)} endpoints`;
  return `${table(['', 'figure'], rows)}\n\n${load}; ${result.method}.`;
}

function showAttach(result: Results['attach']): string {
  const rows = [
    ['new devices, one after the other', String(result.samples)],
    ['median', `${String(result.medianMs)} ms`],
    ['p99', `${String(result.p99Ms)} ms`],
    ['maximum', `${String(result.maxMs)} ms`],
    [
      `CPU of an agent at ${String(result.routeChangesPerSec)} changes of ${String(result.routes)} routes a second`,
      `${String(result.agentCpuPercent)} %`,
    ],
  ];
  return `${table(['', 'figure'], rows)}\n\n${String(result.pods)} pods are there already; ${result.method}.`;
}

function showPorts(result: Results['ports']): string {
  const { connections } = result;
  const rows = [
    ['connections', `${String(connections)} in ${String(result.seconds)} s`],
    [
      'a second',
      `${String(result.openedPerSec)} of ${String(result.wantedPerSec)}, in the worst ${String(result.leastPerSec)}`,
    ],
    ['without a port (`DROP_NO_PORT`)', String(result.noPort)],
    ['lost otherwise', String(result.otherwiseLost)],
    [
      'ports tried (`SNAT_PORT_TAKEN`)',
      `${String(result.portsTried)}, ${(result.portsTried / connections).toFixed(1)} a connection`,
    ],
    ['ports taken over (`SNAT_PORT_REUSED`)', String(result.portsReused)],
    ['a connection, six segments', `${(result.nsPerConnection / 1000).toFixed(1)} µs`],
  ];
  return `${table(['', 'figure'], rows)}\n\nOne masquerade address, one backend, ${String(result.ports)} ports; ${result.method}.`;
}
