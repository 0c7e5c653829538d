// A stray reset or FIN ends no connection: neither end believes it, and so the flow lives on. Injected by raw sockets
// from both ends, while the connection is silent; then the server speaks first.
//
//   out ─ eth0 ───── router ───── eth0 ── node ──┬─ cni0 ─── pod, web (the backend)
//   172.20.1.2                172.20.2.2  sluice └─ ptp ──── routed
//
// Not with SCTP: it takes a kernel that has its sockets. An ABORT with the wrong tag is in test/bpf/sctp.test.ts.
import t, { type Test } from 'tap';
import type { FlowPage } from '../../src/api/bodies.ts';
import { ip } from '../support/packet/addresses.ts';
import { bothAddresses, echoPort, serveEcho } from '../support/lab/echo.ts';
import { type Machine, families } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { sendRaw } from '../support/lab/rawsend.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(300_000);
const { node, folder, pods, startAgent, outside } = await oneNode(t, 'out');
const [out] = outside;
const [pod, web] = await pods('pod', 'web');
const routed = await node.pod('routed', 'ptp');
await serveEcho([web]);

const nodePort = 30_080;
const cluster = { v4: '10.96.0.10', v6: 'fd00:96::10' };
const external = { v4: '172.30.1.10', v6: 'fd00:30:1::10' };
folder.put('web.yaml', [
  serviceDocument({
    name: 'web',
    type: 'NodePort',
    clusterIPs: [cluster.v4, cluster.v6],
    externalIPs: [external.v4, external.v6],
    ports: [{ name: 'tcp', protocol: 'TCP', port: 80, nodePort }],
  }),
  ...sliceDocuments({
    service: 'web',
    endpoints: bothAddresses([web]),
    ports: [{ name: 'tcp', protocol: 'TCP', port: echoPort }],
  }),
]);
const agent = await startAgent();

interface End {
  readonly host: string;
  readonly port: number;
}

/** Of "address port". */
function endOf(text: string): End {
  const [host = '', port = ''] = text.split(' ');
  return { host, port: Number(port) };
}

// Far from where any connection is: of 2^32 numbers a window takes a few thousand.
const far = 0x40_00_00_00;
let number = 1;

async function inject(at: Machine, from: End, to: End, flags: string): Promise<void> {
  const numbers = { seq: (far * number + 12_345) >>> 0, ack: (far * ++number + far / 2) >>> 0 };
  const packet = ip(from.host, to.host).tcp({ sport: from.port, dport: to.port, flags, ...numbers });
  await sendRaw(at, [packet.bytes()]);
}

async function stateOf(backend: string, source: End): Promise<string | undefined> {
  const { flows } = await agent.json<FlowPage>('/v1/flows?limit=1000');
  return flows.find(
    (flow) =>
      flow.backend.address === backend &&
      flow.source.address === source.host &&
      flow.source.port === source.port,
  )?.state;
}

interface Stray {
  readonly what: string;
  readonly flags: string;
  readonly from: readonly ('client' | 'server')[];
}

const strays: readonly Stray[] = [
  { what: 'a reset of the client', flags: 'R', from: ['client'] },
  { what: 'a reset of the server', flags: 'R', from: ['server'] },
  { what: 'resets that acknowledge, of both', flags: 'RA', from: ['client', 'server'] },
  { what: 'a FIN of each', flags: 'FA', from: ['client', 'server'] },
  { what: 'a FIN of each, then resets', flags: 'F', from: ['server', 'client'] },
];

async function lives(
  test: Test,
  who: Machine,
  family: (typeof families)[number],
  host: string,
  port: number,
): Promise<void> {
  for (const { what, flags, from } of strays) {
    const { id, client: seen, local } = await who.actor.call('open', { host, port });
    test.equal(await who.actor.call('ask', { id, text: 'before' }), 'before');
    const [own, source] = [endOf(local), endOf(seen)];
    const server = { host: web[family], port: echoPort };
    for (const side of from) {
      if (side === 'client') await inject(who, own, { host, port }, flags);
      else await inject(web, server, source, flags);
    }
    const heard: string[] = [];
    for (const text of ['one', 'two', 'three']) {
      await web.actor.call('push', { client: seen, text });
      heard.push(await who.actor.call('hear', { id }).catch(String));
    }
    test.strictSame(heard, ['one', 'two', 'three'], `${what}: 3 of 3, IP${family}`);
    test.equal(await who.actor.call('ask', { id, text: 'answer' }), 'answer', 'and the client is heard');
    test.equal(await stateOf(server.host, source), 'established', 'the flow is what it was');
    await who.actor.call('shut', { id });
  }
}

const roads: readonly (readonly [string, Machine, Readonly<Record<'v4' | 'v6', string>>, number])[] = [
  ['from outside, at a NodePort', out, node, nodePort],
  ['from outside, at an external address', out, external, 80],
  ['from a pod at a bridge, at a cluster address', pod, cluster, 80],
  ['from a pod at a cable of its own, at a cluster address', routed, cluster, 80],
  ['from a pod, at an external address', routed, external, 80],
];

for (const [title, who, hosts, port] of roads) {
  t.test(`a stray reset or FIN ends no connection ${title} (S-64, S-89)`, async (test) => {
    for (const family of families) await lives(test, who, family, hosts[family], port);
  });
}
