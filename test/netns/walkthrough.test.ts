// The tutorial by which operators learn Services: an echo server that shows the client's address, reached in every
// way. Each step builds on the one before; the topology is drawn in test/support/lab/twonodes.ts.
import t, { type Test } from 'tap';
import { addressesOf, nodePortOf } from '../support/lab/matrix.ts';
import { TwoAgents, webPorts, type Where } from '../support/lab/twoagents.ts';
import { backendPort, endpointsAt, type MachineName } from '../support/lab/twonodes.ts';
import type { ServiceText } from '../support/kube/manifests.ts';

t.setTimeout(240_000);
const setup = await TwoAgents.start(t);
const { nodes } = setup;
const { node1, node2, machines } = nodes;

const n = 40;
const { cluster, external, balancer } = addressesOf(n);
const clusterIPs = [cluster.v4, cluster.v6];
const nodePort = nodePortOf(n);
const echo: ServiceText = { name: 'echo', clusterIPs, ports: webPorts() };
const here = endpointsAt(nodes, { one: 'ready' });

/** Both families and protocols of a place to dial. */
function everyWay(v4: string, v6: string, port: number): Where[] {
  return [v4, v6].flatMap((host) => (['TCP', 'UDP'] as const).map((protocol) => ({ host, port, protocol })));
}

const atCluster = everyWay(cluster.v4, cluster.v6, 80);
const atNode1 = everyWay(node1.v4, node1.v6, nodePort);
const atNode2 = everyWay(node2.v4, node2.v6, nodePort);
const atBalancer1 = everyWay(external.v4, external.v6, 80);
const atBalancer2 = everyWay(balancer.v4, balancer.v6, 80);

async function all(t: Test, from: MachineName, to: readonly Where[], expected: string): Promise<void> {
  for (const where of to) await setup.sees(t, from, where, expected, expected);
}

t.test("a ClusterIP: pods connect, and the server sees the pod's address (S-52, S-63)", async (t) => {
  setup.put(echo, here);
  await all(t, 'pod1', atCluster, 'one kept');
  await all(t, 'pod2', atCluster, 'one kept');
  await all(t, 'host2', atCluster, 'one node2');
});

t.test('a NodePort: clients outside connect, seen as the node that they used (S-53, S-64)', async (t) => {
  setup.put({ ...echo, type: 'NodePort', ports: webPorts(nodePort) }, here);
  await all(t, 'out', atNode1, 'one node1');
  await all(t, 'out', atNode2, 'one node2');
  await all(t, 'pod1', atCluster, 'one kept');
});

t.test(
  "externalTrafficPolicy Local: the client's address is kept, and the other node drops (S-43, S-65)",
  async (t) => {
    const local = { externalTrafficPolicy: 'Local' } as const;
    setup.put({ ...echo, type: 'NodePort', ports: webPorts(nodePort), ...local }, here);
    await all(t, 'out', atNode1, 'one kept');
    await all(t, 'out', atNode2, 'silence');
  },
);

t.test('a load balancer: every node answers at its address (S-16, S-59)', async (t) => {
  const ingress = [...Object.values(external), ...Object.values(balancer)].map((ip) => ({ ip }));
  const cloud = { ...echo, type: 'LoadBalancer', ports: webPorts(nodePort), ingress } as const;
  setup.put(cloud, here);
  await all(t, 'out', atBalancer1, 'one node1');
  await all(t, 'out', atBalancer2, 'one node2');
  setup.put({ ...cloud, externalTrafficPolicy: 'Local', healthCheckNodePort: 32_040 }, here);
  await all(t, 'out', atBalancer1, 'one kept');
  await all(t, 'out', atBalancer2, 'silence');
  await all(t, 'pod2', atBalancer1, 'one kept'); // taken at its own node, as if it had gone out and come back (S-40)
});

t.test('two replicas share connections; with affinity a client keeps its replica (S-77, S-83)', async (t) => {
  const both = endpointsAt(nodes, { one: 'ready', two: 'ready' });
  setup.put(echo, both);
  await all(t, 'pod1', atCluster, 'one+two kept');
  setup.put({ ...echo, affinity: 600 }, both);
  await setup.settled('echo', (body) => body?.ports.every(({ affinitySec }) => affinitySec === 600) === true);
  for (const where of atCluster) {
    const question = { protocol: 'TCP', ...where, servers: [], least: 12, most: 12, ms: 5_000 } as const;
    const seen = Object.entries(await setup.count('pod1', question));
    t.match(seen, [[/^(one|two) /, 12]], `${where.host} ${where.protocol ?? ''}`);
    t.equal(seen.length, 1);
  }
});

t.test('a Service with endpoints outside the cluster (S-25, S-42)', async (t) => {
  setup.put(echo, endpointsAt(nodes, { far: 'ready' }));
  await all(t, 'pod1', atCluster, 'far kept');
  await all(t, 'host2', atCluster, 'far node2');
});

t.test('a headless Service is left alone: its pods answer at their own addresses (S-4, S-75)', async (t) => {
  setup.put({ ...echo, clusterIPs: ['None'] }, here);
  await setup.settled('echo', (body) => body === undefined);
  const { v4, v6 } = machines.one;
  await all(t, 'pod1', everyWay(v4, v6, backendPort), 'one kept');
  await all(t, 'pod2', everyWay(v4, v6, backendPort), 'one kept');
});

t.test('scaled to zero it refuses at once; deleted it is gone (S-43, S-103)', async (t) => {
  setup.put({ ...echo, type: 'NodePort', ports: webPorts(nodePort) }, []);
  await all(t, 'pod1', atCluster, 'refused');
  await all(t, 'out', atNode2, 'refused');
  setup.folder.remove('echo.yaml');
  await setup.settled('echo', (body) => body === undefined);
  await all(t, 'out', atNode2, 'refused'); // by the node itself: no socket listens there
});
