// Changes at run time, seen on two nodes: Service types, labels, ports, owners of an address, policies, source
// ranges. The topology is drawn in test/support/lab/twonodes.ts.
import t from 'tap';
import { Actor } from '../support/actors/traffic.ts';
import { addressesOf, nodePortOf } from '../support/lab/matrix.ts';
import {
  nodeDocument,
  serviceDocument,
  sliceDocuments,
  type ServiceText,
  type SliceEndpoint,
} from '../support/kube/manifests.ts';
import { TwoAgents, webPorts, type Where } from '../support/lab/twoagents.ts';
import { endpointsAt } from '../support/lab/twonodes.ts';

t.setTimeout(300_000);
const setup = await TwoAgents.start(t);
const { nodes } = setup;
const { node1, machines, lab } = nodes;
const one = endpointsAt(nodes, { one: 'ready' });
const two = endpointsAt(nodes, { two: 'ready' });

let n = 60;
/** A service of every family at addresses of its own, and where it is dialled. */
function fresh(name: string) {
  const addresses = addressesOf(++n);
  const nodePort = nodePortOf(n);
  const text: ServiceText = {
    name,
    clusterIPs: Object.values(addresses.cluster),
    ports: webPorts(),
  };
  const at = (host: string, port = 80): Where => ({ host, port });
  return {
    text,
    nodePort,
    open: { ...text, type: 'NodePort', ports: webPorts(nodePort) } satisfies ServiceText,
    cluster: at(addresses.cluster.v4),
    cluster6: at(addresses.cluster.v6),
    external: at(addresses.external.v4),
    balancer: at(addresses.balancer.v4),
    balancer6: at(addresses.balancer.v6),
    node: at(node1.v4, nodePort),
    node6: at(node1.v6, nodePort),
  };
}

const udp = (where: Where): Where => ({ ...where, protocol: 'UDP' });

t.test('every change of type adds and removes its frontends (S-3, S-18)', async (t) => {
  const { text, open, cluster, node, balancer } = fresh('types');
  setup.put(text, one);
  await setup.sees(t, 'pod1', cluster, 'one kept', 'ClusterIP');
  await setup.sees(t, 'out', node, 'refused', 'and no node port');
  setup.put(open, one);
  await setup.sees(t, 'out', node, 'one node1', 'NodePort');
  setup.put({ ...open, type: 'LoadBalancer', ingress: [{ ip: balancer.host }] }, one);
  await setup.sees(t, 'out', balancer, 'one node2', 'LoadBalancer');
  await setup.sees(t, 'out', node, 'one node1', 'with its node port');
  setup.put({ ...text, type: 'ExternalName' }, one);
  await setup.sees(t, 'out', node, 'refused', 'ExternalName');
  await setup.sees(t, 'pod1', cluster, 'silence', 'nor the cluster address');
  setup.put(open, one);
  await setup.sees(t, 'pod1', cluster, 'one kept', 'back again');
  await setup.sees(t, 'out', node, 'one node1', 'back again');
});

t.test('labels that assign a Service to another proxy, whatever their value (S-2)', async (t) => {
  const { open, cluster, node } = fresh('labels');
  for (const label of ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless']) {
    setup.put(open, one);
    await setup.sees(t, 'pod2', cluster, 'one kept', 'ours');
    setup.put({ ...open, labels: { [label]: '' } }, one);
    await setup.sees(t, 'out', node, 'refused', label);
    await setup.sees(t, 'pod2', cluster, 'silence', label);
  }
  setup.put(open, one);
  await setup.sees(t, 'pod2', cluster, 'one kept', 'ours again');
});

t.test(
  'ports: one number for TCP and UDP of two Services, and a port that a process listens on (S-54, S-55)',
  async (t) => {
    const [tcp, datagram] = [fresh('tcp'), fresh('datagram')];
    const port = (protocol: 'TCP' | 'UDP', nodePort: number) => ({
      name: 'web',
      protocol,
      port: 80,
      nodePort,
    });
    setup.put({ ...tcp.open, ports: [port('TCP', tcp.nodePort)] }, one);
    setup.put({ ...datagram.open, ports: [port('UDP', tcp.nodePort)] }, two);
    await setup.sees(t, 'out', tcp.node, 'one node1', 'TCP');
    await setup.sees(t, 'out', udp(tcp.node), 'two node1', 'UDP');
    setup.folder.remove('datagram.yaml');
    await setup.sees(t, 'out', udp(tcp.node), 'refused', 'UDP gone');
    await setup.sees(t, 'out', tcp.node, 'one node1', 'TCP stays');
    setup.put({ ...tcp.open, ports: [port('TCP', 8080)] }, one);
    const listener = { host: node1.v4, port: 8080 };
    await setup.sees(t, 'out', listener, 'one node1', 'a node port hides the port of a process');
    await setup.sees(t, 'out', tcp.node, 'refused', 'the old number is free');
    setup.folder.remove('tcp.yaml');
    await setup.sees(t, 'out', listener, 'host1 kept', 'the process is back');
  },
);

t.test('two Services claim one address: one has it, and the other after its deletion (S-19)', async (t) => {
  const [first, second] = [fresh('first'), fresh('second')];
  const claim = { externalIPs: [first.external.host] };
  setup.put({ ...first.open, ...claim }, one);
  await setup.sees(t, 'out', first.external, 'one node1', 'the first');
  setup.put({ ...second.open, ...claim }, two);
  await setup.settled('second', (body) => body !== undefined);
  await setup.sees(t, 'out', second.node, 'two node1', 'the second keeps the address that it alone claims');
  await setup.sees(t, 'out', first.external, 'one node1', 'the first keeps it');
  setup.folder.remove('first.yaml');
  await setup.sees(t, 'out', first.external, 'two node1', 'the heir');
  setup.folder.remove('second.yaml');
  await setup.settled('second', (body) => body === undefined);
});

t.test('recreated in one step with the same addresses and another name (S-20)', async (t) => {
  const { open, cluster, node } = fresh('phoenix');
  setup.put(open, one);
  await setup.sees(t, 'pod1', cluster, 'one kept', 'the old one');
  const port = { name: 'tcp', protocol: 'TCP', port: 80 } as const;
  const heir = { ...open, name: 'heir', ports: [{ ...port, nodePort: node.port }] };
  setup.folder.put('phoenix.yaml', [
    serviceDocument(heir),
    ...sliceDocuments({ service: 'heir', endpoints: two, ports: [{ ...port, port: 8080 }] }),
  ]);
  await setup.sees(t, 'pod1', cluster, 'two kept', 'the new one');
  await setup.sees(t, 'out', node, 'two node1', 'and its node port');
});

t.test(
  'a balancer address without a node port; given back to the balancer by ipMode (S-59, S-60)',
  async (t) => {
    const { text, open, cluster, node, balancer } = fresh('modes');
    const { netns } = machines.far; // the real load balancer: it has the address, and serves it itself
    await netns.ip([`addr add ${balancer.host}/32 dev lo`]);
    await lab.router.ip([`route add ${balancer.host}/32 via ${machines.far.v4}`]);
    await machines.far.actor.call('serve', { port: 80, name: 'far' });
    const cloud = (ipMode: 'VIP' | 'Proxy'): ServiceText => ({
      ...text,
      type: 'LoadBalancer',
      ingress: [{ ip: balancer.host, ipMode }],
    });
    setup.put(cloud('VIP'), one);
    await setup.sees(t, 'pod1', balancer, 'one node1', 'VIP');
    await setup.sees(t, 'out', node, 'refused', 'no node port');
    setup.put(cloud('Proxy'), one);
    await setup.sees(t, 'pod1', balancer, 'far kept', 'Proxy');
    await setup.sees(t, 'host2', balancer, 'far node2', 'Proxy');
    await setup.sees(t, 'pod1', cluster, 'one kept', 'the cluster address stays');
    setup.put({ ...cloud('VIP'), ports: open.ports }, one);
    await setup.sees(t, 'pod1', balancer, 'one node1', 'VIP again');
    await setup.sees(t, 'out', node, 'one node1', 'now with a node port');
  },
);

t.test(
  'source ranges: clients of a load balancer address, edited while connections are open (S-61, S-47)',
  async (t) => {
    const { open, cluster, external, balancer, balancer6, node } = fresh('ranges');
    const { pod1, out } = machines;
    const service = (sourceRanges?: readonly string[]): ServiceText => ({
      ...open,
      type: 'LoadBalancer',
      externalIPs: [external.host],
      ingress: [{ ip: balancer.host }, { ip: balancer6.host }],
      ...(sourceRanges === undefined ? {} : { sourceRanges }),
    });
    setup.put(service(), one);
    await setup.sees(t, 'out', balancer, 'one node2', 'no ranges');
    const old = await out.actor.call('open', balancer);
    setup.put(service([` ${pod1.v4}/32 `]), one);
    await setup.sees(t, 'out', balancer, 'silence', 'not in the range');
    await setup.sees(t, 'pod2', balancer, 'silence', 'pods of other addresses neither');
    await setup.sees(t, 'pod1', balancer, 'one node1', 'in the range');
    await setup.sees(t, 'out', balancer6, 'one node2', 'no range of this family: every client is admitted');
    for (const free of [external, node]) await setup.sees(t, 'out', free, 'one node1', 'not covered');
    await setup.sees(t, 'pod2', cluster, 'one kept', 'not covered');
    t.equal(await out.actor.call('ask', { id: old.id, text: 'still' }), 'still', 'a connection goes on');
    setup.put(service(['0.0.0.0/1', '128.0.0.0/1']), one);
    await setup.sees(t, 'out', balancer, 'one node2', 'two halves admit every client');
    setup.put(service([`${out.v4}/24`]), []);
    await setup.sees(t, 'out', balancer, 'refused', 'admitted clients are refused: there is no backend');
    await setup.sees(t, 'pod2', balancer, 'silence', 'the others learn nothing');
    setup.put(service(), one);
    await setup.sees(t, 'pod2', balancer, 'one node2', 'cleared');
  },
);

t.test(
  'denied sources apply to every frontend but the cluster address, before allowed ranges (S-61)',
  async (t) => {
    const { open, cluster, external, balancer, node, node6 } = fresh('denied');
    const { out, pod2 } = machines;
    const service: ServiceText = {
      ...open,
      type: 'LoadBalancer',
      externalIPs: [external.host],
      ingress: [{ ip: balancer.host }],
      sourceRanges: ['0.0.0.0/0'],
      annotations: { 'sluice.dev/deny-source-ranges': `${out.v4}/32,${pod2.v6}/128` },
    };
    setup.put(service, one);
    for (const where of [external, balancer, node]) await setup.sees(t, 'out', where, 'silence', 'denied');
    await setup.sees(t, 'pod2', node6, 'silence', 'denied');
    await setup.sees(t, 'out', node6, 'one node1', 'another family');
    await setup.sees(t, 'out', cluster, 'one node1', 'the cluster address');
    await setup.sees(t, 'pod2', node, 'one node1', 'another client');
    setup.put({ ...service, annotations: {} }, one);
    await setup.sees(t, 'out', node, 'one node1', 'no more');
  },
);

t.test(
  'topology: hints keep traffic in the zone or on the node, and follow the labels (S-31, S-37, S-38, S-111)',
  async (t) => {
    const { text, cluster, node } = fresh('hints');
    const zones = (first: string, second: string): void => {
      const inZone = ({ name, v4, v6 }: typeof node1, zone: string): object =>
        nodeDocument({ name, addresses: [v4, v6], labels: { 'topology.kubernetes.io/zone': zone } });
      setup.folder.put('nodes.yaml', [inZone(node1, first), inZone(nodes.node2, second)]);
    };
    const hinted = (endpoints: readonly SliceEndpoint[], zone: string, name?: string): SliceEndpoint[] =>
      endpoints.map((endpoint) => ({
        ...endpoint,
        hints: { forZones: [{ name: zone }], ...(name === undefined ? {} : { forNodes: [{ name }] }) },
      }));
    zones('a', 'b');
    setup.put(text, [...hinted(one, 'a'), ...hinted(two, 'b')]);
    await setup.sees(t, 'pod1', cluster, 'one kept', 'zone a');
    await setup.sees(t, 'pod2', cluster, 'two kept', 'zone b');
    zones('b', 'b');
    await setup.sees(t, 'pod1', cluster, 'two kept', 'the node has moved to zone b');
    setup.put(text, [...hinted(one, 'b', 'node1'), ...hinted(two, 'b', 'node2')]);
    await setup.sees(t, 'pod1', cluster, 'one kept', 'the same node first');
    setup.put(text, [...endpointsAt(nodes, { one: 'unready' }), ...hinted(two, 'b', 'node2')]);
    await setup.sees(t, 'pod1', cluster, 'two kept', 'then the same zone');
    setup.put(text, [...hinted(one, 'b'), ...two]);
    await setup.sees(t, 'pod1', cluster, 'one+two kept', 'one without hints: no hints at all');
    const open = { ...text, type: 'NodePort', ports: webPorts(node.port) } as const;
    setup.put(open, [...hinted(one, 'a'), ...hinted(two, 'b')]);
    await setup.sees(t, 'out', node, 'two node1', 'external frontends too');
  },
);

t.test('a packet to 127.0.0.1 from the wire reaches no NodePort (S-57)', async (t) => {
  const { open, nodePort } = fresh('loopback');
  setup.put({ ...open, externalTrafficPolicy: 'Local' }, one);
  const loopback = { host: '127.0.0.1', port: nodePort };
  await setup.sees(t, 'host1', loopback, 'one node1', 'the host itself');
  // The neighbour has no loopback address of its own any more, and takes the node for the way to it.
  const { router } = lab;
  await router.sysctl({ 'net.ipv4.conf.all.route_localnet': 1 });
  const leg = (await router.ipJson<{ dev: string }[]>(`route get ${node1.v4}`))[0]?.dev ?? '';
  await router.ip([
    'addr del 127.0.0.1/8 dev lo',
    'route flush table local 127.0.0.0/8',
    `route add 127.0.0.1/32 via ${node1.v4} dev ${leg}`,
  ]);
  const neighbour = await Actor.start(router);
  t.teardown(() => neighbour.close());
  const before = await transmitted(leg);
  const question = { servers: [], least: 2, most: 2, ms: 400 };
  const questions = (['TCP', 'UDP'] as const).map((protocol) => ({ ...loopback, protocol, ...question }));
  const answers = await neighbour.call('probe', { questions });
  t.strictSame(answers, [{ ETIMEDOUT: 2 }, { ETIMEDOUT: 2 }]);
  t.ok((await transmitted(leg)) >= before + 4, 'they were sent');
});

/** Packets that the router has sent on a leg. */
async function transmitted(device: string): Promise<number> {
  interface Link {
    readonly stats64: { readonly tx: { readonly packets: number } };
  }
  const [link] = await lab.router.ipJson<Link[]>(`-s link show ${device}`);
  return link?.stats64.tx.packets ?? 0;
}
