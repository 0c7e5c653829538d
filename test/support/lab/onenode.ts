// What most network tests begin with: a lab of one node, and an agent on it that reads a folder of manifests.
import type { Test } from 'tap';
import { Agent, type AgentOptions } from './agent.ts';
import { bothAddresses, echoDocuments, type EchoService } from './echo.ts';
import { Lab, type LabNode, type Machine } from './lab.ts';
import { ManifestFolder } from '../kube/manifests.ts';

type Machines<Names extends readonly string[]> = { readonly [Index in keyof Names]: Machine };

export interface OneNode<Outside extends readonly string[]> {
  readonly lab: Lab;
  readonly node: LabNode;
  readonly folder: ManifestFolder;
  readonly outside: Machines<Outside>;
  /** Pods of the node, on its bridge. */
  pods<const Names extends readonly string[]>(...names: Names): Promise<Machines<Names>>;
  /** Writes the Service and its EndpointSlices into a file of its name. */
  offer(service: EchoService, backends: readonly Machine[]): void;
  /** Starts the agent and waits until it is ready; one that ran before has to be stopped. */
  startAgent(options?: Omit<AgentOptions, 'manifests'>): Promise<Agent>;
}

async function inTurn<const Names extends readonly string[]>(
  names: Names,
  make: (name: string) => Promise<Machine>,
): Promise<Machines<Names>> {
  const machines: Machine[] = [];
  for (const name of names) machines.push(await make(name));
  return machines as unknown as Machines<Names>;
}

/** Hosts `outside` have the first cables of the router, the node has the next one. Everything ends with the test. */
export async function oneNode<const Outside extends readonly string[]>(
  t: Pick<Test, 'teardown'>,
  ...outside: Outside
): Promise<OneNode<Outside>> {
  const lab = await Lab.create();
  t.teardown(() => lab.close());
  const hosts = await inTurn(outside, (name) => lab.host(name));
  const node = await lab.node('node');
  const folder = new ManifestFolder();
  const agents: Agent[] = [];
  t.teardown(() => Promise.all(agents.map((agent) => agent.stop())));
  return {
    ...{ lab, node, folder, outside: hosts },
    pods: (...names) => inTurn(names, (name) => node.pod(name)),
    offer: (service, backends) =>
      folder.put(`${service.name}.yaml`, echoDocuments(service, bothAddresses(backends))),
    startAgent: async (options = {}) => {
      const onSpawn = (agent: Agent): void => {
        agents.push(agent);
        options.onSpawn?.(agent);
      };
      return Agent.start(node, { ...options, manifests: folder.path, onSpawn });
    },
  };
}
