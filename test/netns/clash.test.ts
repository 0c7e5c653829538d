// Connections whose source port happens to be a NodePort (S-55, S-68): of the node itself, and of pods that netfilter
// masquerades, as most CNI plugins configure it. They keep their replies, while clients still reach the NodePort.
//
//   out ─ eth0 ───── router ───── eth0 ── node ──┬─ cni0 ─── pod, web (the backend)
//   172.20.1.2                172.20.2.2  sluice └─ ptp ──── routed
import t, { type Test } from 'tap';
import type { Status } from '../../src/api/bodies.ts';
import { Agent } from '../support/lab/agent.ts';
import { bothAddresses, dropped, echoPort, serveEcho, verdicts } from '../support/lab/echo.ts';
import { type Machine, families, type FamilyKey } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(300_000);
const { node, folder, pods, startAgent, outside } = await oneNode(t, 'out');
const [out] = outside;
const [pod, web] = await pods('pod', 'web');
const routed = await node.pod('routed', 'ptp');
await serveEcho([out, web]);
const nodePort = 9000; // of the node's own server
await node.actor.call('serve', { port: nodePort, name: 'node' });
await node.netns.run(['nft', '-f', '-'], {
  input: `table inet masquerading {
    chain post {
      type nat hook postrouting priority srcnat
      oifname eth0 ip saddr 10.244.0.0/16 masquerade
      oifname eth0 ip6 saddr fd00:244::/32 masquerade
    }
  }`,
});

// A range of NodePorts, so that every connection of the test has one of its own.
const first = 30_100;
const count = 100;
const protocols = ['TCP', 'UDP'] as const;

/** A service with these NodePorts, both protocols. */
function putService(name: string, address: number, from: number, many: number): void {
  const ports = protocols.flatMap((protocol) =>
    Array.from({ length: many }, (_, i) => ({ name: `${protocol.toLowerCase()}-${String(i)}`, protocol, i })),
  );
  folder.put(`${name}.yaml`, [
    serviceDocument({
      name,
      type: 'NodePort',
      clusterIPs: [`10.96.0.${String(address)}`, `fd00:96::${String(address)}`],
      ports: ports.map(({ i, ...port }) => ({ ...port, port: 1000 + i, nodePort: from + i })),
    }),
    ...sliceDocuments({
      service: name,
      endpoints: bothAddresses([web]),
      ports: ports.map(({ name: port, protocol }) => ({ name: port, protocol, port: echoPort })),
    }),
  ]);
}
putService('web', 10, first, count);

/** Written, not just known: so many ports make tables grow. */
async function programmed(agent: Agent, name: string): Promise<void> {
  await agent.until(name, async () => {
    const { ready } = await agent.json<Status>('/v1/status');
    return ready ? agent.service(name) : undefined;
  });
}

let used = first;

/** Two exchanges; while the connection is open a client of the same NodePort is served too. */
async function talks(
  test: Test,
  who: Machine,
  family: FamilyKey,
  host: string,
  port: number,
  server: string,
): Promise<void> {
  const localPort = used++;
  const target = { host, port, localPort };
  const { id, ...tcp } = await who.actor.call('open', target);
  test.equal(tcp.server, server, `TCP, IP${family}: who is dialled answers`);
  test.match(tcp.client, new RegExp(` ${String(localPort)}$`), 'from the port that was chosen');
  test.equal(await who.actor.call('ask', { id, text: 'on' }), 'on');
  const tally = await out.actor.call('crowd', { host: node[family], port: localPort, connections: 3 });
  test.strictSame([tally.servers, tally.errors], [{ web: 3 }, {}], 'and the NodePort is served');
  test.equal(await who.actor.call('ask', { id, text: 'still' }), 'still');
  await who.actor.call('shut', { id });
}

async function talksUdp(test: Test, who: Machine, family: FamilyKey): Promise<void> {
  const localPort = used++;
  const target = { host: out[family], port: echoPort };
  const { id } = await who.actor.call('openUdp', { ...target, localPort });
  for (const text of ['one', 'two']) {
    const { server, client, payload } = await who.actor.call('askUdp', { id, text });
    test.strictSame([server, payload], ['out', text], `UDP, IP${family}`);
    test.match(client, new RegExp(` ${String(localPort)}$`));
    const tally = await out.actor.call('datagrams', {
      host: node[family],
      port: localPort,
      sockets: 2,
      each: 2,
    });
    test.strictSame([tally.servers, tally.errors], [{ web: 4 }, {}], 'and the NodePort is served');
  }
  await who.actor.call('shutUdp', { id });
  const type = family === 'v4' ? 'udp4' : 'udp6';
  const loose = await who.actor.call('openLoose', { type, localPort: used++ });
  for (const text of ['one', 'two']) {
    const { server, payload } = await who.actor.call('askLoose', { id: loose, ...target, text });
    test.strictSame([server, payload], ['out', text], `UDP without a peer, IP${family}`);
  }
  await who.actor.call('shutUdp', { id: loose });
}

let later = 0;

/** Begins to talk from a port that becomes a NodePort afterwards, and goes on. */
async function wasThere(test: Test, agent: Agent, who: Machine): Promise<void> {
  const from = 31_000 + 10 * later++;
  const held = [];
  for (const [i, family] of families.entries()) {
    const target = { host: out[family], port: echoPort, localPort: from + i };
    const { id } = await who.actor.call('open', target);
    const { id: udp } = await who.actor.call('openUdp', target);
    await who.actor.call('askUdp', { id: udp, text: 'before' });
    held.push({ id, udp, family });
  }
  const name = `late-${String(later)}`;
  putService(name, 20 + later, from, 2);
  await programmed(agent, name);
  for (const { id, udp, family } of held) {
    test.equal(await who.actor.call('ask', { id, text: 'on' }), 'on', `TCP goes on, IP${family}`);
    test.equal(
      (await who.actor.call('askUdp', { id: udp, text: 'on' })).server,
      'out',
      `UDP goes on, IP${family}`,
    );
    await who.actor.call('shut', { id });
    await who.actor.call('shutUdp', { id: udp });
  }
}

/**
 * The same of connections that conntrack has and no socket of the node: silent while the NodePort comes, and then it
 * is the peer that speaks.
 */
async function wasTracked(test: Test, agent: Agent, who: Machine): Promise<void> {
  const from = 31_000 + 10 * later++;
  const held = [];
  for (const [i, family] of families.entries()) {
    const target = { host: out[family], port: echoPort, localPort: from + i };
    const { id, client } = await who.actor.call('open', target);
    test.equal(client, `${node[family]} ${String(from + i)}`, 'seen as the node');
    const type = family === 'v4' ? 'udp4' : 'udp6';
    const udp = await who.actor.call('openLoose', { type, localPort: from + i });
    await who.actor.call('askLoose', { id: udp, ...target, text: 'before' });
    held.push({ id, client, udp, family, to: { host: node[family], port: from + i } });
  }
  const name = `late-${String(later)}`;
  putService(name, 20 + later, from, 2);
  await programmed(agent, name);
  for (const { id, client, udp, family, to } of held) {
    for (const text of ['one', 'two']) {
      test.ok(await out.actor.call('push', { client, text }));
      test.equal(await who.actor.call('hear', { id }).catch(String), text, `TCP, IP${family}`);
      await out.actor.call('pushUdp', { port: echoPort, to, text });
      test.equal(await who.actor.call('hearUdp', { id: udp }).catch(String), text, `UDP, IP${family}`);
    }
    test.equal(await who.actor.call('ask', { id, text: 'on' }).catch(String), 'on', 'and it is answered');
    const tally = await out.actor.call('crowd', { ...to, connections: 3 });
    test.strictSame([tally.servers, tally.errors], [{ web: 3 }, {}], 'and the NodePort is served, TCP');
    const datagrams = await out.actor.call('datagrams', { ...to, sockets: 2, each: 2 });
    test.strictSame([datagrams.servers, datagrams.errors], [{ web: 4 }, {}], 'and UDP');
    await who.actor.call('shut', { id });
    await who.actor.call('shutUdp', { id: udp });
  }
}

const settings = [
  { flags: ['--xdp', 'off'], socketHooks: 'off' },
  { flags: ['--xdp', 'off', '--masquerade-all'], socketHooks: 'off' },
  { flags: ['--uplinks', 'eth*'], socketHooks: 'on' },
  { flags: ['--uplinks', 'eth*', '--masquerade-all'], socketHooks: 'on' },
] as const;

for (const { flags, socketHooks } of settings) {
  t.test(`${flags.join(' ')}, socket hooks ${socketHooks}`, async (t) => {
    const agent = await startAgent({ flags, socketHooks });
    t.teardown(() => agent.stop());
    for (const who of [node, pod, routed]) {
      await t.test(`${who.name} dials out from a NodePort (S-55)`, async (test) => {
        for (const family of families) {
          await talks(test, who, family, out[family], echoPort, 'out');
          await talksUdp(test, who, family);
        }
      });
    }
    await t.test('the node dials a pod, and itself, from a NodePort (S-55)', async (test) => {
      for (const family of families) {
        await talks(test, node, family, web[family], echoPort, 'web');
        await talks(test, node, family, node[family], nodePort, 'node');
      }
      await talks(test, node, 'v4', '127.0.0.1', nodePort, 'node');
    });
    await t.test('a connection of the node is older than the NodePort (S-55)', (test) =>
      wasThere(test, agent, node),
    );
    for (const who of [node, pod, routed]) {
      await t.test(`an idle connection of ${who.name} is older than the NodePort (S-55)`, (test) =>
        wasTracked(test, agent, who),
      );
    }
    t.strictSame(dropped(await verdicts(agent)), {}, 'nothing was dropped');
  });
}
