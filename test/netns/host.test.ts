// NodePorts follow the addresses of their node as these are added and removed (S-53, S-56, S-113):
//
//   client ─ eth0 ───── router ───── eth0 ── node ──── cni0 ─── a
//   172.20.1.2                172.20.2.2 +   sluice, tc
//                             192.0.2.0/24, routed here
import t from 'tap';
import { bothAddresses, echoPort, faults, noFaults, serveEcho } from '../support/lab/echo.ts';
import { addOddLink, oddTypes } from '../support/kernel/oddlinks.ts';
import { nodeDocument, serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { lab, node, folder, pods, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const [pod] = await pods('a');
await serveEcho([pod]);
await lab.router.ip([`route add 192.0.2.0/24 via ${node.v4}`, `route add 2001:db8::/64 via ${node.v6}`]);

const nodePort = 30_080;
const ports = [{ name: 'tcp', protocol: 'TCP', port: 80, nodePort }] as const;
folder.put('web.yaml', [
  serviceDocument({ name: 'web', type: 'NodePort', clusterIPs: ['10.96.0.10', 'fd00:96::10'], ports }),
  ...sliceDocuments({
    service: 'web',
    endpoints: bothAddresses([pod]),
    ports: [{ name: 'tcp', protocol: 'TCP', port: echoPort }],
  }),
]);

// With them from the start on: a row that cannot be written would keep everything else from being written.
for (const type of Object.keys(oddTypes) as (keyof typeof oddTypes)[])
  await addOddLink(node.netns, type.toLowerCase(), type);

let agent = await startAgent();

async function isServed(host: string, from = client): Promise<boolean> {
  const target = { host, port: nodePort, protocol: 'TCP' } as const;
  const question = { ...target, servers: ['a'], least: 1, most: 1, ms: 500 };
  const [answers = {}] = await from.actor.call('probe', { questions: [question] });
  return Object.keys(answers).some((who) => who.startsWith('a '));
}
const served = (host: string) =>
  agent.until(`${host} served`, async () => (await isServed(host)) || undefined);
const left = (host: string) =>
  agent.until(`${host} left alone`, async () => !(await isServed(host)) || undefined);

t.test('NodePorts answer at every address of the node, new ones included', async (t) => {
  for (const host of [node.v4, node.v6]) {
    const tally = await client.actor.call('crowd', { host, port: nodePort, connections: 20 });
    t.strictSame(tally.errors, {}, host);
  }
  t.notOk(await isServed('192.0.2.50'), 'not yet an address of the node');
  await node.netns.ip(['addr add 172.20.2.77/24 dev eth0', 'addr add fd00:20:2::77/64 dev eth0 nodad']);
  for (const host of ['172.20.2.77', 'fd00:20:2::77']) await served(host);
  await node.netns.ip([
    'link add d0 type bridge',
    'link set d0 up',
    'addr add 192.0.2.50/32 dev d0',
    'addr add 2001:db8::50/128 dev d0 nodad',
  ]);
  for (const host of ['192.0.2.50', '2001:db8::50']) await served(host);
  await node.netns.ip(['link del d0']);
  for (const host of ['192.0.2.50', '2001:db8::50']) await left(host);
  t.ok(await isServed('172.20.2.77'), 'the others stay');
});

t.test('beside devices with hardware addresses of any length (S-113)', async (t) => {
  t.match(await node.netns.ipJson('link show dev tunnel6'), [{ link_type: 'tunnel6', address: '::' }]);
  await addOddLink(node.netns, 'later', 'TUNNEL6');
  await node.netns.ip(['addr add 172.20.2.78/24 dev eth0']);
  await served('172.20.2.78');
  t.notMatch(agent.log, /sync.failed|out of bounds/);
});

t.test('NodePorts at loopback answer processes of this host alone (S-57)', async (t) => {
  for (const host of ['127.0.0.1', '::1', node.v4, node.v6]) {
    const tally = await node.actor.call('crowd', { host, port: nodePort, connections: 5 });
    t.strictSame([tally.servers, tally.errors], [{ a: 5 }, {}], host);
  }
});

t.test('--nodeport-addresses: in these ranges, also of addresses that come later (S-56)', async (t) => {
  await agent.stop();
  agent = await startAgent({
    flags: ['--nodeport-addresses', '192.0.2.0/24', '--localhost-nodeports=false'],
  });
  t.notOk(await isServed(node.v4), 'outside the range');
  t.ok(await isServed(node.v6), 'the other family is not restricted');
  t.notOk(await isServed('::1', node), 'switched off');
  await node.netns.ip(['link add d1 type bridge', 'link set d1 up', 'addr add 192.0.2.51/32 dev d1']);
  await served('192.0.2.51');
  t.match(agent.log, /192\.0\.2\.0\/24 matches no IPv4 address of this node/, 'said while there was none');
  await node.netns.ip(['link del d1']);
});

t.test('--nodeport-addresses primary: those of the Node object, as it is now (S-108, S-112)', async (t) => {
  await agent.stop();
  folder.put('node.yaml', [nodeDocument({ name: node.name, addresses: [node.v4, node.v6] })]);
  agent = await startAgent({ flags: ['--nodeport-addresses', 'primary'] });
  for (const host of [node.v4, node.v6]) t.ok(await isServed(host), host);
  t.notOk(await isServed('172.20.2.77'));
  t.notOk(await isServed('127.0.0.1', node));
  folder.put('node.yaml', [nodeDocument({ name: node.name, addresses: ['172.20.2.77'] })]);
  await served('172.20.2.77');
  await left(node.v4);
  folder.remove('node.yaml');
  await served(node.v4);
  t.match(agent.log, /the Node object node is gone/);
  const tally = await client.actor.call('crowd', { host: node.v4, port: nodePort, connections: 20 });
  t.strictSame(
    { ...faults(tally), foreign: 0 },
    noFaults,
    'without the object: the addresses of the uplinks',
  );
});
