// Two nodes with an agent each, which follow the same manifests: services are put there and asked for.
import type { Test } from 'tap';
import type { ServiceDetail } from '../../../src/api/bodies.ts';
import { Agent } from './agent.ts';
import type { Answers, Question } from '../actors/probe.ts';
import { effort, namer, udpPorts, wording } from './asktable.ts';
import { addressesOf, nodePortOf } from './matrix.ts';
import {
  ManifestFolder,
  serviceDocument,
  sliceDocuments,
  type Policy,
  type ServiceText,
  type SliceEndpoint,
} from '../kube/manifests.ts';
import { until } from '../run/process.ts';
import { backendPort, twoNodes, type MachineName, type TwoNodes } from './twonodes.ts';

export interface Where {
  readonly host: string;
  readonly port: number;
  readonly protocol?: 'TCP' | 'UDP';
}

/** How long a change may take from the file to the kernel of both nodes. */
const changeMs = 15_000;

export class TwoAgents {
  readonly nodes: TwoNodes;
  readonly folder: ManifestFolder;
  readonly agents: readonly [Agent, Agent];
  readonly #nameFor: Awaited<ReturnType<typeof namer>>;

  private constructor(
    nodes: TwoNodes,
    folder: ManifestFolder,
    agents: readonly [Agent, Agent],
    nameFor: Awaited<ReturnType<typeof namer>>,
  ) {
    this.nodes = nodes;
    this.folder = folder;
    this.agents = agents;
    this.#nameFor = nameFor;
  }

  /** Everything is torn down with the test. */
  static async start(
    t: Test,
    flags: readonly string[] = ['--xdp', 'off'],
    socketHooks: 'on' | 'off' = 'off',
  ): Promise<TwoAgents> {
    const nodes = await twoNodes();
    t.teardown(() => nodes.lab.close());
    const folder = new ManifestFolder();
    const options = { manifests: folder.path, flags, socketHooks };
    const agents = await Promise.all([Agent.start(nodes.node1, options), Agent.start(nodes.node2, options)]);
    t.teardown(() => Promise.all(agents.map((agent) => agent.stop())));
    return new TwoAgents(nodes, folder, agents, await namer(nodes));
  }

  /** What these clients see of one question, in the words of the table; see matrix.ts. */
  async ask(client: MachineName, where: Where, effortOf: string): Promise<string> {
    const machine = this.nodes.machines[client];
    const answers = await this.count(client, { protocol: 'TCP', ...where, ...effort(effortOf) });
    return wording(answers, this.#nameFor(machine));
  }

  async count(client: MachineName, question: Question): Promise<Answers> {
    const options = { questions: [question], firstUdpPort: udpPorts[client] };
    const [answers = {}] = await this.nodes.machines[client].actor.call('probe', options);
    return answers;
  }

  /** A change in the manifests takes a moment; what is seen then stays. */
  async sees(t: Test, client: MachineName, where: Where, expected: string, why: string): Promise<void> {
    const limit = Date.now() + changeMs;
    let found = await this.ask(client, where, expected);
    while (found !== expected && Date.now() < limit) found = await this.ask(client, where, expected);
    t.equal(
      found,
      expected,
      `${why}: ${client} to ${where.host} ${where.protocol ?? 'TCP'} ${String(where.port)}`,
    );
  }

  /** Puts a service and its endpoints into a file of its name. */
  put(service: ServiceText, endpoints: readonly SliceEndpoint[]): void {
    const ports = service.ports.map(({ name, protocol }) => ({ name, protocol, port: backendPort }));
    const slices = sliceDocuments({ service: service.name, endpoints, ports });
    this.folder.put(`${service.name}.yaml`, [serviceDocument(service), ...slices]);
  }

  /** Waits until both agents say of a service what is wanted: of its body, or undefined when they do not know it. */
  async settled(name: string, check: (body: ServiceDetail | undefined) => boolean): Promise<void> {
    for (const agent of this.agents) {
      await until(`${name} at ${agent.node.name}`, async () => {
        return check(await agent.service(name));
      });
    }
  }
}

/** TCP and UDP on port 80, with these node ports. */
export const webPorts = (nodePort?: number): ServiceText['ports'] =>
  (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: 80,
    ...(nodePort === undefined ? {} : { nodePort }),
  }));

/** The n-th service of a test file, with every sort of frontend, and where it is dialled. */
export function everyFrontend(name: string, n: number, policy: Policy = 'Cluster') {
  const addresses = addressesOf(n);
  const nodePort = nodePortOf(n);
  const text: ServiceText = {
    name,
    type: 'LoadBalancer',
    clusterIPs: Object.values(addresses.cluster),
    externalIPs: Object.values(addresses.external),
    ingress: Object.values(addresses.balancer).map((ip) => ({ ip })),
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    ...(policy === 'Local' ? { healthCheckNodePort: 32_000 + n } : {}),
    ports: webPorts(nodePort),
  };
  return { text, addresses, nodePort };
}
