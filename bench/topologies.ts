// One lab a way to do without or with a proxy, all wired alike and with the same addresses, all up at once, all
// following the objects of one real API server:
//
//             router ─┬─ eth0 ── node1 ─┬── cni0 ──── neighbour   a client
//                     │                 ├── cni0 ──── server      a backend
//                     │                 └── ptp ───── routed      a client
//                     └─ eth0 ── node2 ──── cni0 ──── far         a backend
//
// node1 itself is a client too.
import { Agent } from '../test/support/lab/agent.ts';
import { ApiServer } from '../test/support/kube/apiserver.ts';
import { startUnixProxy } from '../test/support/lab/unixproxy.ts';
import { KubeProxy } from '../test/support/lab/kubeproxy.ts';
import { Lab, type LabNode, type Machine } from '../test/support/lab/lab.ts';
import { nodeDocument } from '../test/support/kube/manifests.ts';
import { until } from '../test/support/run/process.ts';
import { canDo, serveLoad } from './load.ts';
import { directPort, serviceAddress, serviceObjects, servicePort } from './objects.ts';

export type TopologyName = 'none' | 'hooks' | 'packets' | 'nftables';

/** Without its proxies yet. */
interface Wired {
  readonly name: TopologyName;
  readonly lab: Lab;
  readonly nodes: readonly [LabNode, LabNode];
  readonly machines: Readonly<Record<'neighbour' | 'routed' | 'host' | 'server' | 'far', Machine>>;
}

interface Proxy {
  stop(): Promise<void>;
}

export interface Topology extends Wired {
  readonly proxies: readonly Proxy[];
}

/** The numbers of the two services that are measured; all others are beside them. */
export const nearService = 1;
export const farService = 2;

const topologyNames: readonly TopologyName[] = ['none', 'hooks', 'packets', 'nftables'];

async function wire(name: TopologyName): Promise<Wired> {
  const lab = await Lab.create();
  const [node1, node2] = [await lab.node('node1'), await lab.node('node2')];
  const machines = {
    neighbour: await node1.pod('neighbour'),
    routed: await node1.pod('routed', 'ptp'),
    host: node1,
    server: await node1.pod('server'),
    far: await node2.pod('far'),
  };
  for (const pod of [machines.server, machines.far])
    for (const port of [directPort, servicePort]) serveLoad(pod, port);
  return { name, lab, nodes: [node1, node2], machines };
}

/** Every node can reach the API server at its own loopback, as the kubeconfig says. */
async function relayTo(server: ApiServer, topologies: readonly Wired[]): Promise<() => void> {
  const port = Number(new URL(server.url).port);
  const { path, close } = await startUnixProxy(port);
  for (const node of topologies.flatMap(({ nodes }) => nodes)) await node.actor.call('relay', { port, path });
  return close;
}

async function startProxies({ name, nodes }: Wired, kubeconfig: string): Promise<Proxy[]> {
  const proxies: Proxy[] = [];
  const flags = ['--kubeconfig', kubeconfig, '--xdp', 'off'];
  const socketHooks = name === 'hooks' ? 'on' : 'off';
  // One after the other: all at once they would keep each other from starting in time.
  for (const node of name === 'none' ? [] : nodes) {
    const kubeProxy = name === 'nftables';
    proxies.push(
      await (kubeProxy ? KubeProxy.start(node, kubeconfig) : Agent.start(node, { flags, socketHooks })),
    );
  }
  return proxies;
}

export class Topologies {
  readonly #all: readonly Topology[];
  readonly #server: ApiServer;
  readonly #closeProxy: () => void;
  /** How many there are. */
  services = 0;

  private constructor(all: readonly Topology[], server: ApiServer, closeProxy: () => void) {
    this.#all = all;
    this.#server = server;
    this.#closeProxy = closeProxy;
  }

  /** With the two services that are measured. */
  static async build(): Promise<Topologies> {
    const server = await ApiServer.start();
    const wired: Wired[] = [];
    for (const name of topologyNames) wired.push(await wire(name));
    const closeProxy = await relayTo(server, wired);
    await server.kubectl('create', 'namespace', 'lab');
    await server.applyWithStatus(
      (wired[0]?.nodes ?? []).map(({ name, v4, v6 }) => nodeDocument({ name, addresses: [v4, v6] })),
    );
    const kubeconfig = await server.agentKubeconfig();
    const all: Topology[] = [];
    for (const topology of wired)
      all.push({ ...topology, proxies: await startProxies(topology, kubeconfig) });
    const topologies = new Topologies(all, server, closeProxy);
    await topologies.addServices(2);
    return topologies;
  }

  get(name: TopologyName): Topology {
    const topology = this.#all.find((one) => one.name === name);
    if (topology === undefined) throw new Error(`no topology ${name}`);
    return topology;
  }

  /** Until every proxy has them; all but one have their backend on node1. */
  async addServices(count: number): Promise<void> {
    const { server, far } = this.get('none').machines;
    const numbers = Array.from({ length: count }, (_, i) => this.services + i + 1);
    const items = numbers.flatMap((n) => serviceObjects(n, n === farService ? far : server));
    await this.#server.kubectl(
      'create',
      '-f',
      '-',
      `${JSON.stringify({ apiVersion: 'v1', kind: 'List', items })}\n`,
    );
    this.services += count;
    await this.#untilServed(this.services);
  }

  async #untilServed(service: number): Promise<void> {
    for (const { name, machines } of this.#all) {
      if (name === 'none') continue;
      for (const family of [4, 6] as const) {
        const order = { address: serviceAddress(service, family), port: servicePort, count: 1 } as const;
        await until(`service ${String(service)} in the topology ${name}`, () =>
          canDo(machines.neighbour, { work: 'connected', ...order }),
        );
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.flatMap(({ proxies }) => proxies.map((proxy) => proxy.stop())));
    await this.#server.stop();
    this.#closeProxy();
    for (const { lab } of this.#all) await lab.close();
  }
}
