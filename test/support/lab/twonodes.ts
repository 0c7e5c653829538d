// Two nodes of one cluster, each with a proxy of its own, and every kind of client:
//
//   out ─ eth0 ──┐                              ┌── cni0 ──── one     a backend
//   (outside)    │        ┌─ eth0 ── node1 ─────┤
//                │        │                     └── ptp ───── pod1    a client
//              router ────┤
//                │        │                     ┌── ptp ───── two     a backend
//   far ─ eth0 ──┘        └─ eth0 ── node2 ─────┤
//   (a backend outside the cluster)             └── cni0 ──── pod2    a client
//
// host1 and host2, processes on the nodes themselves, are clients and backends too.
import { echoPort, serveEcho } from './echo.ts';
import { Lab, type LabNode, type Machine } from './lab.ts';
import type { SliceEndpoint } from '../kube/manifests.ts';

export interface TwoNodes {
  readonly lab: Lab;
  readonly node1: LabNode;
  readonly node2: LabNode;
  /** All machines, by name. */
  readonly machines: Readonly<Record<MachineName, Machine>>;
}

export type MachineName = 'out' | 'far' | 'host1' | 'host2' | 'one' | 'two' | 'pod1' | 'pod2';

export async function twoNodes(): Promise<TwoNodes> {
  const lab = await Lab.create();
  const out = await lab.host('out');
  const far = await lab.host('far');
  const node1 = await lab.node('node1');
  const node2 = await lab.node('node2');
  const [one, pod1] = [await node1.pod('one'), await node1.pod('pod1', 'ptp')];
  const [two, pod2] = [await node2.pod('two', 'ptp'), await node2.pod('pod2')];
  const [host1, host2] = [asHost(node1, 'host1'), asHost(node2, 'host2')];
  await serveEcho([one, two, far]);
  for (const host of [host1, host2]) await serveOwnAddresses(host);
  return { lab, node1, node2, machines: { out, far, host1, host2, one, two, pod1, pod2 } };
}

/** A process in the node's own namespace, as a pod with hostNetwork is. */
const asHost = ({ netns, actor, v4, v6 }: LabNode, name: string): Machine => ({
  name,
  netns,
  actor,
  v4,
  v6,
});

async function serveOwnAddresses({ actor, name, v4, v6 }: Machine): Promise<void> {
  await actor.call('serve', { port: echoPort, name });
  for (const host of [v4, v6]) await actor.call('serveUdp', { port: echoPort, name, host });
}

/** The node that a machine is on; hand-made endpoints outside the cluster are on none. */
export function nodeOf(name: MachineName): 'node1' | 'node2' | undefined {
  if (['one', 'pod1', 'host1'].includes(name)) return 'node1';
  if (['two', 'pod2', 'host2'].includes(name)) return 'node2';
  return undefined;
}

export type Condition = 'ready' | 'terminating' | 'unready';

const conditions: Readonly<Record<Condition, Partial<SliceEndpoint>>> = {
  ready: {},
  terminating: { ready: false, serving: true, terminating: true },
  unready: { ready: false, serving: false },
};

/** Endpoints as the controller would write them: each on its node, in both families. */
export function endpointsAt(
  { machines }: TwoNodes,
  wanted: Readonly<Partial<Record<MachineName, Condition>>>,
): SliceEndpoint[] {
  return (Object.entries(wanted) as [MachineName, Condition][]).flatMap(([name, condition]) => {
    const nodeName = nodeOf(name);
    const rest = { ...conditions[condition], ...(nodeName === undefined ? {} : { nodeName }) };
    return [machines[name].v4, machines[name].v6].map((address) => ({ address, ...rest }));
  });
}

/** The port every backend of the two nodes answers at. */
export const backendPort = echoPort;

/** Who an address is, as far as the nodes' own go: every device's, the bridges' and gateways' included. */
export async function nodeAddresses({ node1, node2 }: TwoNodes): Promise<ReadonlyMap<string, string>> {
  const owners = new Map<string, string>();
  for (const node of [node1, node2]) {
    const links = await node.netns.ipJson<{ addr_info: { local: string }[] }[]>('addr show');
    for (const { addr_info } of links)
      for (const { local } of addr_info)
        if (local !== '127.0.0.1' && local !== '::1') owners.set(local, node.name);
  }
  return owners;
}
