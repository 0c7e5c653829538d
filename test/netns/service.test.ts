// Services as clients use them, on a node with bridged and routed pods, strict rp_filter, both families:
//
//   client ─ eth0 ──┐                                     ┌── cni0 ─┬─ a      backends a, b, c:
//   172.20.1.2      │                                     │ bridge  ├─ b      TCP and UDP echo on 8080
//                   router ────── eth0 ── node ───────────┤         └─ dora   a client
//   narrow ─ eth0 ──┤ (mtu 1300)         sluice, tc       │
//   far ──── eth0 ──┘ (mtu 1300)                          └── ptp ──┬─ c
//   a backend that is no pod                                        └─ emil   a client
//
//   ClusterIPs 10.96.0.0/16 and fd00:96::/64: the router sends them to the node, no device has them.
import t from 'tap';
import type { FlowPage } from '../../src/api/bodies.ts';
import { sluice } from '../support/lab/agent.ts';
import {
  bothAddresses,
  dropped,
  echoDocuments,
  echoPort,
  echoService,
  faults,
  noFaults,
  seenAsNode,
  serveEcho,
  servicePort,
  verdicts,
} from '../support/lab/echo.ts';
import { type Machine, families } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import type { ActorError } from '../support/actors/traffic.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { lab, node, folder, pods, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const narrow = await lab.host('narrow', { mtu: 1300 });
const far = await lab.host('far', { mtu: 1300 });
const [a, b, dora] = await pods('a', 'b', 'dora');
const [c, emil] = [await node.pod('c', 'ptp'), await node.pod('emil', 'ptp')];
await serveEcho([a, b, c, far, client]);

const web = echoService('web', 10); // a, b, c
const selfBridge = echoService('self-bridge', 11); // a alone, called by itself
const selfPtp = echoService('self-ptp', 12); // c alone, called by itself
const empty = echoService('empty', 13); // without endpoints
const remote = echoService('remote', 14); // far, beyond the router

folder.put('services.yaml', [
  ...echoDocuments(web, bothAddresses([a, b, c])),
  ...echoDocuments(selfBridge, bothAddresses([a])),
  ...echoDocuments(selfPtp, bothAddresses([c])),
  ...echoDocuments(empty, []),
  ...echoDocuments(remote, bothAddresses([far])),
  // Headless: nothing is forwarded, and its pods' own addresses are left alone (S-4).
  serviceDocument({
    name: 'headless',
    clusterIPs: ['None'],
    ports: [{ name: 'tcp', protocol: 'TCP', port: echoPort }],
  }),
  ...sliceDocuments({
    service: 'headless',
    endpoints: bothAddresses([a]),
    ports: [{ name: 'tcp', protocol: 'TCP', port: echoPort }],
  }),
]);
const agent = await startAgent({ flags: ['--xdp', 'off'] });

const where = (service: { v4: string; v6: string }, family: 'v4' | 'v6', port = servicePort) => ({
  host: service[family],
  port,
});

/** Asks once over a connected UDP socket; the error code, or the server's name. */
async function askOnce(from: Machine, host: string, port: number): Promise<string> {
  const { id } = await from.actor.call('openUdp', { host, port });
  try {
    return (await from.actor.call('askUdp', { id, text: 'hello' })).server;
  } catch (error) {
    return (error as ActorError).code;
  } finally {
    await from.actor.call('shutUdp', { id });
  }
}

for (const family of families) {
  for (const from of [dora, emil, client]) {
    const kept = from !== client;
    t.test(
      `${from.name} reaches every backend over IP${family}, ${kept ? 'its address kept' : 'seen as the node'} (S-63, S-83)`,
      async (t) => {
        const tcp = await from.actor.call('crowd', { ...where(web, family), connections: 90 });
        t.strictSame(faults(tcp), kept ? noFaults : seenAsNode(90), 'TCP');
        t.strictSame(Object.keys(tcp.servers).sort(), ['a', 'b', 'c']);
        const udp = await from.actor.call('datagrams', { ...where(web, family), sockets: 90, each: 3 });
        t.strictSame(faults(udp), kept ? noFaults : seenAsNode(270), 'UDP');
        t.strictSame(Object.keys(udp.servers).sort(), ['a', 'b', 'c']);
      },
    );
  }

  for (const [pod, service] of [
    [a, selfBridge],
    [c, selfPtp],
  ] as const) {
    t.test(`${pod.name} reaches itself over IP${family}, seen as the service address (S-66)`, async (t) => {
      const { server, client: seen, id } = await pod.actor.call('open', where(service, family));
      t.equal(server, pod.name);
      t.equal(seen.split(' ')[0], service[family]);
      t.equal(await pod.actor.call('ask', { id, text: 'still there?' }), 'still there?');
      await pod.actor.call('shut', { id });
      t.equal(await askOnce(pod, service[family], servicePort), pod.name, 'UDP');
      const whole = await pod.actor.call('transfer', { ...where(service, family), bytes: 3_000_000 });
      t.equal(whole.received, whole.sent, 'segmentation offload survives the bounce');
    });
  }

  t.test(`a service without endpoints refuses over IP${family} (S-43)`, async (t) => {
    for (const from of [dora, emil, client]) {
      const tcp = await from.actor.call('crowd', { ...where(empty, family), connections: 5 });
      t.strictSame(tcp.errors, { ECONNREFUSED: 5 }, `${from.name} by RST`);
      t.equal(await askOnce(from, empty[family], servicePort), 'ECONNREFUSED', `${from.name} by ICMP`);
    }
  });

  t.test(`path MTU discovery works through a service over IP${family} (S-84)`, async (t) => {
    const up = await dora.actor.call('transfer', { ...where(remote, family), bytes: 100_000 });
    t.equal(up.received, up.sent, 'an error about a request reaches the client');
    t.equal(await learntMtu(dora, remote[family]), 1300, 'who has learnt it for the service address');
    const down = await narrow.actor.call('transfer', { ...where(web, family), bytes: 100_000 });
    t.equal(down.received, down.sent, 'an error about a reply reaches the backend');
    const backend = [a, b, c].find(({ name }) => name === down.server) ?? a;
    t.equal(
      await learntMtu(backend, await gateway(backend, family)),
      1300,
      'which has learnt it for what it saw as the client: the node, on its side',
    );
  });

  t.test(`traffic for no Service is left alone over IP${family} (S-4, S-75)`, async (t) => {
    for (const [from, to] of [
      [client, a],
      [dora, c],
      [emil, client],
    ] as const) {
      const tally = await from.actor.call('crowd', { ...where(to, family, echoPort), connections: 20 });
      t.strictSame(faults(tally), noFaults, `${from.name} to ${to.name} itself`);
      t.strictSame(tally.servers, { [to.name]: 20 });
    }
    const closed = await client.actor.call('crowd', { ...where(a, family, 81), connections: 1 });
    t.strictSame(closed.errors, { ECONNREFUSED: 1 }, 'a closed port of a pod refuses by itself');
  });
}

async function gateway({ netns }: Machine, family: 'v4' | 'v6'): Promise<string> {
  const version = family === 'v4' ? '-4' : '-6';
  const [route] = await netns.ipJson<readonly { readonly gateway?: string }[]>(
    `${version} route show default`,
  );
  return route?.gateway ?? '';
}

async function learntMtu(machine: Machine, address: string): Promise<number | undefined> {
  interface Route {
    readonly metrics?: readonly { readonly mtu?: number }[];
  }
  const [route] = await machine.netns.ipJson<Route[]>(`route get ${address}`);
  return route?.metrics?.[0]?.mtu;
}

t.test('a network policy sees pod addresses, not the Service (S-74)', async (t) => {
  const forwarded = async (destination: string): Promise<number> => {
    const { stdout } = await node.netns.run(['nft', '-j', 'list', 'counter', 'inet', 'seen', destination]);
    return Number(/"packets": (\d+)/.exec(stdout)?.[1]);
  };
  const rules = [
    'table inet seen {',
    '  counter pods {}',
    '  counter services {}',
    '  chain forward {',
    '    type filter hook forward priority 0;',
    `    ip saddr ${emil.v4} ip daddr ${c.v4} counter name pods`,
    `    ip saddr ${emil.v4} ip daddr ${selfPtp.v4} counter name services`,
    '  }',
    '}',
  ];
  await node.netns.run(['nft', '-f', '-'], { input: rules.join('\n') });
  const tally = await emil.actor.call('crowd', { ...where(selfPtp, 'v4'), connections: 5 });
  t.strictSame(faults(tally), noFaults);
  t.ok((await forwarded('pods')) >= 15, 'the whole connection, with both ends as they are');
  t.equal(await forwarded('services'), 0);
  await node.netns.run(['nft', 'delete', 'table', 'inet', 'seen']);
});

t.test('the node itself reaches services, its address kept (S-52, S-73)', async (t) => {
  for (const family of families) {
    const tcp = await node.actor.call('crowd', { ...where(web, family), connections: 60 });
    t.strictSame(faults(tcp), noFaults, `TCP over IP${family}`);
    t.strictSame(Object.keys(tcp.servers).sort(), ['a', 'b', 'c']);
    const udp = await node.actor.call('datagrams', { ...where(web, family), sockets: 60, each: 2 });
    t.strictSame(faults(udp), noFaults, `UDP over IP${family}`);
    const refused = await node.actor.call('crowd', { ...where(empty, family), connections: 3 });
    t.strictSame(refused.errors, { ECONNREFUSED: 3 }, `refused over IP${family}`);
    t.equal(await askOnce(node, empty[family], servicePort), 'ECONNREFUSED');
  }
});

t.test('the API and the command line show a flow that is open', async (t) => {
  const { id, server, local } = await client.actor.call('open', where(web, 'v4'));
  const backend = [a, b, c].find(({ name }) => name === server) ?? a;
  const [address, port] = local.split(' ');
  const { flows } = await agent.json<FlowPage>(`/v1/flows?client=${address ?? ''}&limit=1000`);
  const mine = flows.find((flow) => flow.client.port === Number(port));
  t.match(mine, {
    protocol: 'TCP',
    frontend: { address: web.v4, port: servicePort },
    backend: { address: backend.v4, port: echoPort },
    namespace: 'lab',
    service: 'web',
    state: 'established',
    hairpin: false,
  });
  const shown = await sluice(node, 'flows', '-o', 'json');
  t.equal(shown.code, 0, shown.stderr);
  t.ok((JSON.parse(shown.stdout) as FlowPage).flows.length > 0);
  await client.actor.call('shut', { id });
});

t.test('no packet was dropped in all this', async (t) => {
  t.strictSame(dropped(await verdicts(agent)), {});
});
