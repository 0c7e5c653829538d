// What socket hooks cost and save, between real sockets: a service by the hooks, by the packet path, and by the rules
// of the real kube-proxy (nftables mode), and the same pods by their own addresses beside each of these and without any
// proxy; all in turns. Connections, datagrams, the bytes of one connection, and single calls. topologies.ts draws them.
import { Agent } from '../test/support/lab/agent.ts';
import { beginning } from '../test/support/run/heartbeat.ts';
import { verdicts } from '../test/support/lab/echo.ts';
import {
  ceiling,
  Comparison,
  topologyOf,
  type Contender,
  type Figure,
  type Plan,
  type Road,
} from './comparison.ts';
import { chunkBytes, compileLoad, type Work } from './load.ts';
import { Topologies } from './topologies.ts';

export interface Options {
  readonly quick?: boolean;
}

export interface Result {
  readonly method: object;
  readonly figures: readonly Figure[];
}

const all: readonly Contender[] = [
  'none pod',
  'nftables pod',
  'packets pod',
  'hooks pod',
  'hooks service',
  'packets service',
  'nftables service',
];
/** For calls that reach no service: what each of them pays for the hooks. */
const bystanders: readonly Contender[] = ['none pod', 'packets pod', 'hooks pod'];

const bridged: Road = { name: 'pod to pod, bridge', from: 'neighbour', to: 'server' };
const roads: readonly Road[] = [
  bridged,
  { name: 'pod to pod, ptp to bridge', from: 'routed', to: 'server' },
  { name: 'host to pod', from: 'host', to: 'server' },
  { name: 'pod to pod, other node', from: 'neighbour', to: 'far' },
];
const inside: Road = { name: 'within a pod', from: 'neighbour', to: 'own' };

const traffic: readonly Work[] = ['connection', 'connected', 'unconnected'];
const calls: readonly Work[] = ['socket', 'sendto', 'recvfrom'];

/** Turns of about 10 ms: the shorter, the more alike is what the machine does beside them. */
const pieces: Plan['pieces'] = {
  connection: 150,
  bulk: 400,
  connected: 800,
  unconnected: 800,
  connect: 10_000,
  socket: 2_500,
  sendto: 3_200,
  recvfrom: 12_800,
};
const manyServices = 1000;

/**
 * A figure of the wrong road would look like any other: as many sockets must be pointed at a backend as are said to be.
 */
async function proveRoads(topologies: Topologies, comparison: Comparison): Promise<void> {
  const pointed = async (contender: Contender): Promise<number> => {
    const [agent] = topologies.get(topologyOf(contender)).proxies;
    if (!(agent instanceof Agent)) throw new Error(`${contender}: no agent`);
    return (await verdicts(agent, 'sock'))['SOCKET_NEW'] ?? 0;
  };
  const expected = [
    ['hooks pod', 0],
    ['hooks service', pieces.connection],
    ['packets service', 0],
  ] as const;
  for (const road of roads) {
    for (const [contender, sockets] of expected) {
      const before = await pointed(contender);
      await comparison.turn(contender, 'connection', road, 4);
      const found = (await pointed(contender)) - before;
      if (found !== sockets) throw new Error(`${road.name}, ${contender}: ${found} sockets were pointed`);
    }
  }
}

async function measure(topologies: Topologies, comparison: Comparison, quick: boolean): Promise<Figure[]> {
  const figures = await comparison.figures(traffic, roads, all);
  if (!quick) {
    await topologies.addServices(manyServices);
    figures.push(...(await comparison.figures(traffic, roads, all)));
  }
  figures.push(...(await comparison.figures(['bulk'], roads, all)));
  figures.push(...(await comparison.figures(['connect'], [bridged], all)));
  figures.push(...(await comparison.figures(calls, [inside], bystanders)));
  return figures;
}

export async function run({ quick = false }: Options = {}): Promise<Result> {
  compileLoad();
  beginning('bench: sockets, building the labs and what Kubernetes has for them', 3000);
  const topologies = await Topologies.build();
  const rounds = quick ? 9 : 61;
  beginning('bench: sockets, looking whether connections go the ways that are meant');
  const comparison = new Comparison(topologies, { rounds, pieces });
  try {
    await proveRoads(topologies, comparison);
    const figures = await measure(topologies, comparison, quick);
    const what = `Client, server and what is between them on one CPU; contenders in turns, and compared with "${ceiling}" turn by turn`;
    return { method: { what, rounds, 'bytes a piece of bulk': chunkBytes }, figures };
  } finally {
    comparison.close();
    await topologies.close();
  }
}

/** ns a piece, and the rate beside the ceiling; one road a line. */
export function show({ figures }: Result): string {
  const cell = ({ scores }: Figure, contender: Contender): string => {
    const { ns, ratio } = scores[contender] ?? {};
    return (ns === undefined ? '' : `${String(ns)} ${(ratio ?? NaN).toFixed(2)}`).padStart(18);
  };
  const title = (figure: Figure): string =>
    `${figure.work}, ${figure.road}, IPv${String(figure.family)}, ${String(figure.services)} services`;
  const line = (name: string, cells: readonly string[]): string => `${name.padEnd(60)}${cells.join('')}`;
  const head = line(
    '',
    all.map((contender) => contender.padStart(18)),
  );
  const rows = figures.map((figure) =>
    line(
      title(figure),
      all.map((contender) => cell(figure, contender)),
    ),
  );
  return `${[head, ...rows].join('\n')}\n`;
}
