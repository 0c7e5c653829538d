// One node for real programs, clients and servers, and an agent that is started again with the other setting of its
// socket hooks while their connections live:
//
//                               ┌── cni0 ─┬─ client
//   router ── eth0 ── node ─────┤         └─ one      servers
//                               └── ptp ──── two
//
// A process of the node itself is a client too.
import type { Test } from 'tap';
import { Agent, leadsTo } from './agent.ts';
import { echoPorts, verdicts, type EchoService } from './echo.ts';
import { Lab, type LabNode, type Machine } from './lab.ts';
import { ManifestFolder, serviceDocument, sliceDocuments, type SliceEndpoint } from '../kube/manifests.ts';

export type Setting = 'on' | 'off';
export const settings: readonly Setting[] = ['on', 'off'];

/** TCP and UDP of the service lead to the same port of its endpoints. */
export interface Offer {
  readonly service: EchoService;
  readonly port: number;
  readonly endpoints: readonly SliceEndpoint[];
}

export type Use = (t: Test, client: Machine) => Promise<void>;

export class Apps {
  readonly node: LabNode;
  readonly client: Machine;
  readonly one: Machine;
  readonly two: Machine;
  readonly #folder = new ManifestFolder();
  readonly #flags: readonly string[];
  #setting: Setting | undefined;
  #agent: Agent | undefined;

  private constructor(
    node: LabNode,
    [client, one, two]: readonly [Machine, Machine, Machine],
    flags: readonly string[],
  ) {
    this.node = node;
    this.#flags = flags;
    [this.client, this.one, this.two] = [client, one, two];
  }

  /** Without an agent, until the first setting is made. Everything is torn down with the test. */
  static async start(t: Test, flags: readonly string[] = []): Promise<Apps> {
    const lab = await Lab.create();
    t.teardown(() => lab.close());
    const node = await lab.node('node');
    const pods = [await node.pod('client'), await node.pod('one'), await node.pod('two', 'ptp')] as const;
    const apps = new Apps(node, pods, flags);
    t.teardown(() => apps.#agent?.stop());
    return apps;
  }

  get agent(): Agent {
    if (this.#agent === undefined) throw new Error('no setting was made yet');
    return this.#agent;
  }

  /** A pod and a host: both kinds of clients that have sockets on the node. */
  get clients(): readonly Machine[] {
    return [this.client, this.node];
  }

  offer({ service, port, endpoints }: Offer): void {
    const { name, v4, v6 } = service;
    const ports = echoPorts(port);
    this.#folder.put(`${name}.yaml`, [
      serviceDocument({ name, clusterIPs: [v4, v6], ports }),
      ...sliceDocuments({ service: name, endpoints, ports }),
    ]);
  }

  /** The same, and waits until the agent gives new connections to these endpoints alone. */
  async settle(offer: Offer): Promise<void> {
    this.offer(offer);
    const { service, endpoints } = offer;
    await this.agent.until(`the endpoints of ${service.name}`, async () =>
      leadsTo(await this.agent.service(service.name), endpoints),
    );
  }

  /** Starts the agent with this setting, or stops the one that has another and starts its successor. */
  async hooks(setting: Setting): Promise<void> {
    if (setting === this.#setting) return;
    await this.#agent?.stop();
    await this.#start(setting);
  }

  /** The agent dies, and the next one finds what it has left in the kernel. */
  async crash(): Promise<void> {
    await this.agent.kill();
    await this.#start(this.#setting ?? 'on');
  }

  async #start(setting: Setting): Promise<void> {
    this.#setting = setting;
    const options = {
      manifests: this.#folder.path,
      flags: ['--xdp', 'off', ...this.#flags],
      socketHooks: setting,
    };
    this.#agent = await Agent.start(this.node, options);
  }

  /** How many sockets, and datagrams of unconnected ones, the hooks have pointed at a backend until now. */
  async pointed(): Promise<number> {
    const { SOCKET_NEW: fresh = 0, SOCKET_KNOWN: known = 0 } = await verdicts(this.agent, 'sock');
    return fresh + known;
  }

  /** How many the hooks have seen and left to the packet path until now. */
  async left(): Promise<number> {
    return (await verdicts(this.agent, 'sock'))['LEFT_TO_PACKETS'] ?? 0;
  }

  /** A test whose sockets the hooks point at backends when they are on, and leave alone when they are off. */
  async through(t: Test, setting: Setting, test: () => Promise<void>): Promise<void> {
    await this.hooks(setting);
    const before = await this.pointed();
    await test();
    const pointed = (await this.pointed()) - before;
    if (setting === 'on') t.ok(pointed > 0, `${String(pointed)} pointed at backends`);
    else t.equal(pointed, 0, 'none pointed at a backend');
  }

  /** A test of each by its title, from every client, in every setting. */
  everyUse(t: Test, uses: Readonly<Record<string, Use>>): void {
    for (const setting of settings)
      for (const client of this.clients)
        for (const [what, use] of Object.entries(uses))
          t.test(`${what}, from the ${client.name}, socket hooks ${setting}`, (t) =>
            this.through(t, setting, () => use(t, client)),
          );
  }
}
