// Load from a client outside, first through tc alone and then through XDP on the device towards the client:
//
//   client ─ eth0 ───── router ───── eth0 ── node ──┬── cni0 ─┬─ a     backends of the service:
//   172.20.1.2                        XDP, tc       │         └─ b     TCP and UDP echo
//                                                   └── ptp ──── c
//
// The client's ports are fixed, so that the choice of backends, a hash, is the same in every run.
import t, { type Test } from 'tap';
import {
  bothAddresses,
  dropped,
  echoDocuments,
  echoPort,
  echoPorts,
  echoService,
  faults,
  noFaults,
  seenAsNode,
  serveEcho,
  servicePort,
  unevenness,
  verdicts,
} from '../support/lab/echo.ts';
import { families } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(600_000);
const { node, folder, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const backends = [await node.pod('a'), await node.pod('b'), await node.pod('c', 'ptp')];
const names = backends.map(({ name }) => name);
await serveEcho(backends);

const web = echoService('web', 10);
/** With externalTrafficPolicy Local clients keep their address: the one road from outside that XDP takes. */
const balanced = { v4: '172.30.1.10', v6: 'fd00:30:1::10' };
folder.put('web.yaml', [
  ...echoDocuments(web, bothAddresses(backends)),
  serviceDocument({
    name: 'balanced',
    type: 'LoadBalancer',
    clusterIPs: ['10.96.0.11', 'fd00:96::b'],
    ingress: [{ ip: balanced.v4 }, { ip: balanced.v6 }],
    externalTrafficPolicy: 'Local',
    ports: echoPorts(servicePort),
  }),
  ...sliceDocuments({
    service: 'balanced',
    endpoints: bothAddresses(backends).map((endpoint) => ({ ...endpoint, nodeName: 'node' })),
    ports: echoPorts(echoPort),
  }),
]);

interface Road {
  readonly service: { readonly v4: string; readonly v6: string };
  readonly kept: boolean; // the client's address
}

const masqueraded: Road = { service: web, kept: false };
const local: Road = { service: balanced, kept: true };

let firstPort = 10_000;
/** Ports that no earlier round has used: none of its connections can still be closing. */
function freshPorts(count: number): number {
  firstPort += count;
  return firstPort - count;
}

function loadTests(t: Test, family: 'v4' | 'v6', { service, kept }: Road): void {
  const target = { host: service[family], port: servicePort };

  t.test(`1 000 connections at once over IP${family}`, async (t) => {
    const tally = await client.actor.call('crowd', {
      ...target,
      connections: 1000,
      firstPort: freshPorts(1000),
    });
    t.strictSame(faults(tally), kept ? noFaults : seenAsNode(1000));
    t.ok(unevenness(tally, names) <= 0.15, `within 15 % of an even share: ${JSON.stringify(tally.servers)}`);
  });

  t.test(`10 000 datagrams over IP${family}`, async (t) => {
    const tally = await client.actor.call('datagrams', {
      ...target,
      sockets: 1000,
      each: 10,
      firstPort: freshPorts(1000),
    });
    t.strictSame(faults(tally), kept ? noFaults : seenAsNode(10_000));
    t.ok(unevenness(tally, names) <= 0.15, `within 15 % of an even share: ${JSON.stringify(tally.servers)}`);
  });

  t.test(`100 MB there and back over IP${family}`, async (t) => {
    const { sent, received, bytes } = await client.actor.call('transfer', { ...target, bytes: 100_000_000 });
    t.equal(bytes, 100_000_000);
    t.equal(received, sent);
  });
}

t.test('by tc alone', async (t) => {
  const agent = await startAgent({ flags: ['--xdp', 'off'] });
  t.teardown(() => agent.stop());
  for (const family of families) loadTests(t, family, masqueraded);
  await t.test('tc saw every packet, and dropped none', async (t) => {
    t.notOk((await verdicts(agent, 'xdp'))['REQUEST']);
    t.strictSame(dropped(await verdicts(agent)), {});
  });
});

t.test('with XDP on the device that faces the client', async (t) => {
  const agent = await startAgent({ flags: ['--xdp', 'native'] });
  t.teardown(() => agent.stop());

  await t.test('packets with unfinished checksums, as between containers', async (t) => {
    for (const family of families) loadTests(t, family, local);
    await t.test('XDP left them to tc', async (t) => {
      const { REQUEST: sent = 0, LEFT_TO_TC: left = 0 } = await verdicts(agent, 'xdp');
      // Not all: the kernel's own resets and time-wait acknowledgements come with a finished checksum.
      t.ok(left > 20_000 && sent < left / 100, `${String(sent)} sent, ${String(left)} left`);
    });
  });

  await t.test('packets with finished checksums, as from a wire', async (t) => {
    await client.netns.run(['ethtool', '-K', 'eth0', 'tx', 'off']);
    for (const family of families) loadTests(t, family, local);
    await t.test('XDP translated them, and dropped none', async (t) => {
      const { REQUEST: sent = 0 } = await verdicts(agent, 'xdp');
      t.ok(sent > 20_000, `${String(sent)} sent`);
      t.strictSame(dropped(await verdicts(agent)), {});
    });
  });
});
