// One node whose agent is started again with other maps while connections of every kind live:
//
//   client ── eth0 ─┐                              ┌── cni0 ─┬─ pod      a client
//                   router ── eth0 ── node ────────┤         └─ a
//   other ─── eth0 ─┘                              └── ptp ──── b        backends
//
// Processes of the node and of pods reach `hooked` by their sockets, and everything else by packets.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { FlowPage, ServiceDetail } from '../../../src/api/bodies.ts';
import { native } from '../../../native/index.ts';
import { Agent, type AgentOptions } from './agent.ts';
import { bothAddresses, echoPort, echoPorts, serveEcho, servicePort, verdicts } from './echo.ts';
import { Lab, type LabNode, type Machine } from './lab.ts';
import { ManifestFolder, serviceDocument, sliceDocuments, type ServiceText } from '../kube/manifests.ts';
import { until } from '../run/process.ts';
import type { Dial } from './talks.ts';

export interface Sizes {
  readonly services: number;
  readonly backends: number;
  readonly flows: number;
  readonly halfOpenFlows: number;
  readonly sockets: number;
}

export const plenty: Sizes = { services: 64, backends: 128, flows: 1024, halfOpenFlows: 1024, sockets: 128 };

function flagsOf(sizes: Sizes): string[] {
  return [
    ...['--max-services', String(sizes.services), '--max-backends', String(sizes.backends)],
    ...['--max-flows', String(sizes.flows), '--max-half-open-flows', String(sizes.halfOpenFlows)],
    ...['--max-sockets', String(sizes.sockets)],
  ];
}

const names = ['web', 'sticky', 'self', 'hooked'] as const;
type Name = (typeof names)[number];
const nodePortOf = (name: Name): number => 30_080 + names.indexOf(name);
const addressOf = (name: Name, family: 'v4' | 'v6'): string =>
  family === 'v4'
    ? `10.96.0.${String(10 + names.indexOf(name))}`
    : `fd00:96::1${String(names.indexOf(name))}`;

export interface Counts {
  readonly verdicts: Readonly<Record<string, number>>;
  /** By name of the service, port and backend. */
  readonly services: Readonly<Record<string, number>>;
}

export class CarryLab {
  readonly lab: Lab;
  readonly node: LabNode;
  readonly client: Machine;
  readonly other: Machine;
  readonly pod: Machine;
  readonly a: Machine;
  readonly b: Machine;
  readonly folder = new ManifestFolder();
  readonly #options: AgentOptions;
  #agent: Agent | undefined;

  private constructor(lab: Lab, node: LabNode, machines: readonly Machine[], options: AgentOptions) {
    [this.lab, this.node, this.#options] = [lab, node, options];
    [this.client, this.other, this.pod, this.a, this.b] = machines as [
      Machine,
      Machine,
      Machine,
      Machine,
      Machine,
    ];
  }

  /** Torn down with the test. No agent runs yet. */
  static async create(t: Test, options: AgentOptions = { flags: ['--xdp', 'off'] }): Promise<CarryLab> {
    const lab = await Lab.create();
    t.teardown(() => lab.close());
    const [client, other] = [await lab.host('client'), await lab.host('other')];
    const node = await lab.node('node');
    const [pod, a, b] = [await node.pod('pod'), await node.pod('a'), await node.pod('b', 'ptp')];
    await serveEcho([a, b]);
    const made = new CarryLab(lab, node, [client, other, pod, a, b], options);
    t.teardown(() => made.#agent?.stop());
    made.#offer('web', { endpoints: [a, b] });
    made.#offer('sticky', { endpoints: [a, b], affinity: 3_600 });
    made.#offer('self', { endpoints: [a] });
    made.#offer('hooked', { endpoints: [a, b], annotations: {} });
    return made;
  }

  #offer(name: Name, { endpoints, ...more }: Partial<ServiceText> & { endpoints: readonly Machine[] }): void {
    const service: ServiceText = {
      ...{ name, type: 'NodePort', clusterIPs: [addressOf(name, 'v4'), addressOf(name, 'v6')] },
      ports: echoPorts(servicePort).map((port) => ({ ...port, nodePort: nodePortOf(name) })),
      annotations: { 'sluice.dev/socket-hooks': 'false' },
      ...more,
    };
    const slices = { service: name, endpoints: bothAddresses(endpoints), ports: echoPorts(echoPort) };
    this.folder.put(`${name}.yaml`, [serviceDocument(service), ...sliceDocuments(slices)]);
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error('no agent was started');
    return this.#agent;
  }

  #optionsFor(sizes: Sizes): AgentOptions {
    const flags = [...(this.#options.flags ?? []), ...flagsOf(sizes)];
    return { socketHooks: 'on', ...this.#options, manifests: this.folder.path, flags };
  }

  /** Ends the agent that there is, and waits until the next one is ready. */
  async restart(sizes: Sizes, how: 'stop' | 'kill' = 'stop'): Promise<void> {
    await (how === 'stop' ? this.#agent?.stop() : this.#agent?.kill());
    this.#agent = await Agent.start(this.node, this.#optionsFor(sizes));
  }

  /** Starts an agent, which is killed as soon as this is in its log. */
  async startAndKill(sizes: Sizes, log: string): Promise<void> {
    const killed = new Promise<void>((resolve, reject) => {
      const onSpawn = (agent: Agent): void => {
        until(log, () => agent.log.includes(log))
          .then(() => agent.kill())
          .then(resolve, reject);
      };
      // It never becomes ready.
      Agent.start(this.node, { ...this.#optionsFor(sizes), onSpawn }).catch(() => undefined);
    });
    await killed;
  }

  cluster(name: Name, family: 'v4' | 'v6'): { host: string; port: number } {
    return { host: addressOf(name, family), port: servicePort };
  }

  nodePort(name: Name, family: 'v4' | 'v6'): { host: string; port: number } {
    return { host: this.node[family], port: nodePortOf(name) };
  }

  /** By packets from a pod, from outside masqueraded, to itself; by sockets of a pod and of the node. */
  dials(): Dial[] {
    const { client, pod, a, node } = this;
    return (['v4', 'v6'] as const).flatMap((family) => [
      { name: `pod to a cluster address, IP${family}`, client: pod, ...this.cluster('web', family) },
      { name: `outside to a NodePort, IP${family}`, client, ...this.nodePort('web', family) },
      { name: `outside to a cluster address, IP${family}`, client, ...this.cluster('sticky', family) },
      { name: `a pod to itself, IP${family}`, client: a, ...this.cluster('self', family) },
      { name: `socket of a pod, IP${family}`, client: pod, ...this.cluster('hooked', family) },
      { name: `socket of the node, IP${family}`, client: node, ...this.cluster('hooked', family) },
      { name: `the node to a NodePort, IP${family}`, client: node, ...this.nodePort('web', family) },
    ]);
  }

  /** Who answers a new connection of this client. */
  async server(client: Machine, where: { host: string; port: number }): Promise<string> {
    const { id, server } = await client.actor.call('open', where);
    await client.actor.call('shut', { id });
    return server;
  }

  /** Client, backend, and what stands for the client there, of every flow that has not ended. */
  async flows(): Promise<string[]> {
    const list: string[] = [];
    for (let cursor = ''; ;) {
      const page = await this.agent.json<FlowPage>(`/v1/flows?limit=1000${cursor}`);
      const text = ({ address, port }: { address: string; port: number }) => `${address} ${String(port)}`;
      const live = page.flows.filter(({ state }) => state === 'established');
      for (const { via, protocol, client, backend, source, service } of live)
        list.push(`${via} ${protocol} ${service}: ${text(client)} as ${text(source)} to ${text(backend)}`);
      if (page.cursor === undefined) return list.sort();
      cursor = `&cursor=${encodeURIComponent(page.cursor)}`;
    }
  }

  async counts(): Promise<Counts> {
    const services: Record<string, number> = {};
    for (const name of names) {
      const detail = await this.agent.json<ServiceDetail>(`/v1/services/lab/${name}`);
      const note = (who: string, counters: object): void => {
        for (const [field, value] of Object.entries(counters))
          if (field !== 'active') services[`${name} ${who} ${field}`] = value as number;
      };
      for (const port of detail.ports) note(`${port.portName} ${port.family}`, port.counters);
      for (const { portName, address, counters } of detail.backends) note(`${portName} ${address}`, counters);
    }
    return { verdicts: await verdicts(this.agent), services };
  }

  /** Folders of maps, and the ids of the maps in them. */
  pinned(): { readonly folders: readonly string[]; readonly maps: ReadonlySet<number> } {
    const folders = readdirSync(this.node.bpffs).filter((name) => !['links', 'saved'].includes(name));
    const maps = new Set<number>();
    for (const folder of folders)
      for (const name of readdirSync(join(this.node.bpffs, folder))) {
        const map = native().openPinnedMap(join(this.node.bpffs, folder, name));
        maps.add(map.info.id);
        map.close();
      }
    return { folders, maps };
  }
}

/** Names of those that have become less. */
export function fallen(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
): string[] {
  return Object.entries(before)
    .filter(([name, value]) => (after[name] ?? 0) < value)
    .map(([name, value]) => `${name}: ${String(value)}, then ${String(after[name])}`);
}

interface Listed {
  readonly id: number;
  readonly name?: string;
  readonly map_ids?: readonly number[];
}

/**
 * Programs that use one of these maps, and which of the maps there still are: a kernel frees both a moment after
 * their last user.
 */
async function bpfUsers(
  node: LabNode,
  maps: ReadonlySet<number>,
): Promise<{ programs: string[]; maps: number[] }> {
  const list = async (what: 'prog' | 'map'): Promise<Listed[]> => {
    const { stdout } = await node.netns.run(['bpftool', '-j', what, 'list']);
    return JSON.parse(stdout) as Listed[];
  };
  const programs = (await list('prog')).filter(({ map_ids = [] }) => map_ids.some((id) => maps.has(id)));
  const left = (await list('map')).filter(({ id }) => maps.has(id));
  return { programs: programs.map(({ name = '' }) => name).sort(), maps: left.map(({ id }) => id) };
}

/** Of the maps that were there before, those that are pinned no longer have gone, and no program uses them. */
export async function nothingLeft(
  t: Test,
  node: LabNode,
  before: ReadonlySet<number>,
  now: ReadonlySet<number>,
) {
  const replaced = new Set([...before].filter((id) => !now.has(id)));
  const found = await until('the old maps to be freed', async () => {
    const users = await bpfUsers(node, replaced);
    return users.programs.length + users.maps.length === 0 ? users : undefined;
  }).catch(() => bpfUsers(node, replaced));
  t.strictSame(found, { programs: [], maps: [] }, 'neither old maps nor old programs are left');
}
