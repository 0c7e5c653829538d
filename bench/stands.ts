// One lab a way to do without or with a proxy, all wired alike and with the same addresses, all up at once, all following the
// objects of one real API server:
//
//             router ─┬─ eth0 ── node1 ─┬── cni0 ──── neighbour   a client
//                     │                 ├── cni0 ──── server      a backend
//                     │                 └── ptp ───── routed      a client
//                     └─ eth0 ── node2 ──── cni0 ──── far         a backend
//
// node1 itself is a client too.
import { Agent } from '../test/support/agent.ts';
import { ApiServer } from '../test/support/apiserver.ts';
import { openDoor } from '../test/support/door.ts';
import { KubeProxy } from '../test/support/kubeproxy.ts';
import { Lab, type LabNode, type Machine } from '../test/support/lab.ts';
import { nodeDocument } from '../test/support/manifests.ts';
import { until } from '../test/support/process.ts';
import { canDo, serveLoad } from './load.ts';
import { directPort, serviceAddress, serviceObjects, servicePort } from './objects.ts';

export type StandName = 'none' | 'hooks' | 'packets' | 'nftables';

/** Without its proxies yet. */
interface Wired {
  readonly name: StandName;
  readonly lab: Lab;
  readonly nodes: readonly [LabNode, LabNode];
  readonly machines: Readonly<Record<'neighbour' | 'routed' | 'host' | 'server' | 'far', Machine>>;
}

interface Proxy {
  stop(): Promise<void>;
}

export interface Stand extends Wired {
  readonly proxies: readonly Proxy[];
}

/** The numbers of the two services that are measured; all others are beside them. */
export const nearService = 1;
export const farService = 2;

const standNames: readonly StandName[] = ['none', 'hooks', 'packets', 'nftables'];

async function wire(name: StandName): Promise<Wired> {
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
async function openDoors(server: ApiServer, stands: readonly Wired[]): Promise<() => void> {
  const port = Number(new URL(server.url).port);
  const { path, close } = await openDoor(port);
  for (const node of stands.flatMap(({ nodes }) => nodes)) await node.actor.call('relay', { port, path });
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

export class Stands {
  readonly #all: readonly Stand[];
  readonly #server: ApiServer;
  readonly #closeDoors: () => void;
  /** How many there are. */
  services = 0;

  private constructor(all: readonly Stand[], server: ApiServer, closeDoors: () => void) {
    this.#all = all;
    this.#server = server;
    this.#closeDoors = closeDoors;
  }

  /** With the two services that are measured. */
  static async build(): Promise<Stands> {
    const server = await ApiServer.start();
    const wired: Wired[] = [];
    for (const name of standNames) wired.push(await wire(name));
    const closeDoors = await openDoors(server, wired);
    await server.kubectl('create', 'namespace', 'lab');
    await server.applyWithStatus(
      (wired[0]?.nodes ?? []).map(({ name, v4, v6 }) => nodeDocument({ name, addresses: [v4, v6] })),
    );
    const kubeconfig = await server.agentKubeconfig();
    const all: Stand[] = [];
    for (const stand of wired) all.push({ ...stand, proxies: await startProxies(stand, kubeconfig) });
    const stands = new Stands(all, server, closeDoors);
    await stands.addServices(2);
    return stands;
  }

  get(name: StandName): Stand {
    const stand = this.#all.find((one) => one.name === name);
    if (stand === undefined) throw new Error(`no stand ${name}`);
    return stand;
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
        await until(`service ${String(service)} in the stand ${name}`, () =>
          canDo(machines.neighbour, { work: 'connected', ...order }),
        );
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.flatMap(({ proxies }) => proxies.map((proxy) => proxy.stop())));
    await this.#server.stop();
    this.#closeDoors();
    for (const { lab } of this.#all) await lab.close();
  }
}
