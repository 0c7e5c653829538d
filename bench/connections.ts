// TCP connect + request + close between real sockets in namespaces, through a service and directly between the same
// pods, in turns: the ratio of medians is what the service costs by the packet path. sockets.ts compares it with other
// ways.
import { Agent } from '../test/support/lab/agent.ts';
import { Lab, type LabNode, type Machine } from '../test/support/lab/lab.ts';
import { beginning } from '../test/support/run/heartbeat.ts';
import { ManifestFolder } from '../test/support/kube/manifests.ts';
import { Client, compileLoad, medianOf, serveLoad, type Family } from './load.ts';
import { directPort, serviceAddress, serviceObjects, servicePort } from './objects.ts';

export interface Options {
  readonly quick?: boolean;
}

export interface Figure {
  readonly road: string;
  readonly family: Family;
  readonly services: number;
  /** ns a connection. */
  readonly direct: number;
  readonly service: number;
  /** Connections a second through the service, relative to direct: 1 is the ceiling. */
  readonly ratio: number;
}

/** `count` services in front of the same pod; the first is measured. */
function writeServices(folder: ManifestFolder, count: number, pod: Machine): void {
  const objects = Array.from({ length: count }, (_, i) => serviceObjects(i + 1, pod));
  folder.put('services.yaml', objects.flat());
}

interface Road {
  readonly name: string;
  readonly from: Machine;
  readonly to: Machine;
}

async function measure(
  { name, from, to }: Road,
  family: Family,
  services: number,
  { rounds, connections }: { rounds: number; connections: number },
): Promise<Figure> {
  const [direct, service]: [number[], number[]] = [[], []];
  beginning(`bench: connections, ${name}, IPv${String(family)}, ${String(services)} services`, 600);
  const client = new Client(name, from);
  const turn = (address: string, port: number): Promise<number> =>
    client.order({ work: 'connection', address, port, count: connections });
  for (let round = 0; round < rounds; round++) {
    direct.push(await turn(family === 4 ? to.v4 : to.v6, directPort));
    service.push(await turn(serviceAddress(1, family), servicePort));
  }
  client.close();
  const [d, s] = [medianOf(direct), medianOf(service)];
  return { road: name, family, services, direct: d, service: s, ratio: Number((d / s).toFixed(3)) };
}

async function measureWith(
  services: number,
  roads: readonly Road[],
  node: LabNode,
  quick: boolean,
): Promise<Figure[]> {
  const folder = new ManifestFolder();
  const [road] = roads;
  if (road === undefined) return [];
  writeServices(folder, services, road.to);
  const agent = await Agent.start(node, { manifests: folder.path });
  const plan = quick ? { rounds: 5, connections: 1000 } : { rounds: 11, connections: 3000 };
  const figures: Figure[] = [];
  for (const one of roads) {
    for (const family of [4, 6] as const) figures.push(await measure(one, family, services, plan));
  }
  await agent.stop();
  return figures;
}

export async function run({ quick = false }: Options = {}): Promise<{ method: object; figures: Figure[] }> {
  compileLoad();
  const lab = await Lab.create();
  try {
    const client = await lab.host('client');
    const node = await lab.node('node');
    const [server, neighbour, routed] = [
      await node.pod('server'),
      await node.pod('neighbour'),
      await node.pod('routed', 'ptp'),
    ];
    for (const port of [directPort, servicePort]) serveLoad(server, port);
    const roads: Road[] = [
      { name: 'pod to pod, bridge', from: neighbour, to: server },
      { name: 'pod to pod, ptp to bridge', from: routed, to: server },
      { name: 'outside to pod', from: client, to: server },
    ];
    const figures: Figure[] = [];
    for (const services of quick ? [1] : [1, 10_000]) {
      figures.push(...(await measureWith(services, roads, node, quick)));
    }
    return { method: { what: 'ns a TCP connect + request + close, in turns, medians' }, figures };
  } finally {
    await lab.close();
  }
}

/** Microseconds a connection, and the ratio, one road a line. */
export function show({ figures }: { readonly figures: readonly Figure[] }): string {
  const us = (ns: number): string => `${(ns / 1000).toFixed(1)} us`.padStart(10);
  const line = ({ road, family, services, direct, service, ratio }: Figure): string =>
    `${road.padEnd(26)} IPv${String(family)}  ${String(services).padStart(6)} services  direct${us(direct)}  service${us(service)}  ratio ${ratio.toFixed(3)}`;
  return `${figures.map(line).join('\n')}\n`;
}
