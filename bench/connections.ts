// TCP connect + request + close between real sockets in namespaces, through a service and directly between the same pods, in
// turns: the ratio of medians is what the service costs.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent } from '../test/support/agent.ts';
import { Lab, type LabNode, type Machine } from '../test/support/lab.ts';
import { ManifestFolder, serviceDocument, sliceDocuments } from '../test/support/manifests.ts';

export interface Options {
  readonly quick?: boolean;
}

export interface Figure {
  readonly road: string;
  readonly family: 4 | 6;
  readonly services: number;
  /** ns a connection. */
  readonly direct: number;
  readonly service: number;
  /** Connections a second through the service, relative to direct: 1 is the ceiling. */
  readonly ratio: number;
}

// Servers of their own for either road: were it one, a port of the client could meet what its last connection by the other road
// left in TIME_WAIT, with unrelated time stamps, and wait a second for its SYN to be sent again.
const directPort = 7000;
const servicePort = 7001;
const root = fileURLToPath(new URL('../', import.meta.url));
const program = join(root, 'build/bench/tcpload');

function compile(): void {
  mkdirSync(join(root, 'build/bench'), { recursive: true });
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(root, 'bench/tcpload.c')]);
}

const serviceAddress = (n: number, family: 4 | 6): string =>
  family === 4 ? `10.96.${String(n >> 8)}.${String(n & 255)}` : `fd00:96::${n.toString(16)}`;

/** `count` services in front of the same pod; the first is measured. */
function writeServices(folder: ManifestFolder, count: number, pod: Machine): void {
  const ports = [{ name: 'tcp', protocol: 'TCP' as const, port: servicePort }];
  const documents = Array.from({ length: count }, (_, i) => {
    const name = `service-${String(i + 1)}`;
    const clusterIPs = [serviceAddress(i + 1, 4), serviceAddress(i + 1, 6)];
    const endpoints = [{ address: pod.v4 }, { address: pod.v6 }];
    return [
      serviceDocument({ name, clusterIPs, ports }),
      ...sliceDocuments({ service: name, endpoints, ports }),
    ];
  });
  folder.put('services.yaml', documents.flat());
}

async function nsPerConnection(
  from: Machine,
  address: string,
  port: number,
  connections: number,
): Promise<number> {
  const { stdout } = await from.netns.run([program, 'dial', address, String(port), String(connections)]);
  return Number(stdout);
}

const medianOf = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

interface Road {
  readonly name: string;
  readonly from: Machine;
  readonly to: Machine;
}

async function measure(
  { name, from, to }: Road,
  family: 4 | 6,
  services: number,
  { rounds, connections }: { rounds: number; connections: number },
): Promise<Figure> {
  const [direct, service]: [number[], number[]] = [[], []];
  const own = family === 4 ? to.v4 : to.v6;
  for (let round = 0; round < rounds; round++) {
    direct.push(await nsPerConnection(from, own, directPort, connections));
    service.push(await nsPerConnection(from, serviceAddress(1, family), servicePort, connections));
  }
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
  compile();
  const lab = await Lab.create();
  try {
    const client = await lab.host('client');
    const node = await lab.node('node');
    const [server, neighbour, routed] = [
      await node.pod('server'),
      await node.pod('neighbour'),
      await node.pod('routed', 'ptp'),
    ];
    for (const port of [directPort, servicePort]) {
      server.netns.spawn([program, 'serve', String(port)], { stdio: 'ignore' }).unref();
    }
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
