// Fragmented datagrams and segments on real devices: large ones as the kernel fragments them, and fragments in
// reverse order, interleaved with those of another datagram (S-85).
//
//   client ─ eth0 ──┐                          ┌─ bridge ── a     a backend
//   (outside)       router ────── eth0 ── node ┤
//   far ──── eth0 ──┘                          └─ ptp ───── dora  a client
//   (a backend outside)
import t from 'tap';
import { bothAddresses, dropped, echoPort, serveEcho, servicePort, verdicts } from '../support/lab/echo.ts';
import { cut } from '../support/packet/fragments.ts';
import { type Machine, families, type FamilyKey } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { ip } from '../support/packet/addresses.ts';
import { sendRaw } from '../support/lab/rawsend.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(240_000);
const { lab, node, folder, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const far = await lab.host('far');
const [a, dora] = [await node.pod('a'), await node.pod('dora', 'ptp')];
await serveEcho([a, far]);

interface Echo {
  readonly v4: string;
  readonly v6: string;
  readonly nodePort: number;
  readonly backend: Machine;
}
const echoes: readonly Echo[] = [
  { v4: '10.96.0.20', v6: 'fd00:96::20', nodePort: 30020, backend: a },
  { v4: '10.96.0.21', v6: 'fd00:96::21', nodePort: 30021, backend: far },
];

for (const { v4, v6, nodePort, backend } of echoes) {
  const port = (protocol: 'TCP' | 'UDP', number: number) => ({
    name: protocol.toLowerCase(),
    protocol,
    port: number,
  });
  folder.put(`${backend.name}.yaml`, [
    serviceDocument({
      ...{ name: backend.name, type: 'NodePort', clusterIPs: [v4, v6] },
      ports: (['TCP', 'UDP'] as const).map((protocol) => ({ ...port(protocol, servicePort), nodePort })),
    }),
    ...sliceDocuments({
      ...{ service: backend.name, endpoints: bothAddresses([backend]) },
      ports: [port('TCP', echoPort), port('UDP', echoPort)],
    }),
  ]);
}
const agent = await startAgent({ flags: ['--xdp', 'off'] });

/** Every way into a service from these two clients. */
const ways = (echo: Echo, family: FamilyKey) => [
  { from: dora, host: echo[family], port: servicePort },
  { from: client, host: echo[family], port: servicePort },
  { from: client, host: node[family], port: echo.nodePort },
];

let nextPort = 20_000;
let nextId = 1000;

for (const family of families) {
  t.test(`datagrams that the kernel fragments (S-85), IP${family}`, async (t) => {
    for (const echo of echoes) {
      for (const { from, host, port } of ways(echo, family)) {
        const { id } = await from.actor.call('openUdp', { host, port });
        for (const length of [2000, 8000, 60_000]) {
          const text = 'x'.repeat(length);
          const { server, payload } = await from.actor.call('askUdp', { id, text });
          t.ok(server === echo.backend.name && payload === text, `${String(length)} bytes to ${host}`);
        }
        await from.actor.call('shutUdp', { id });
      }
    }
  });

  t.test(`fragments in reverse order, interleaved with another datagram's (S-85), IP${family}`, async (t) => {
    for (const echo of echoes) {
      for (const { from, host, port } of ways(echo, family)) {
        const sport = nextPort++;
        const texts = ['first ', 'second '].map((text) => text.repeat(500));
        const [one = [], two = []] = texts.map((text) =>
          cut(
            ip(from[family], host).udp({ sport, dport: port }).payload(text).bytes(),
            504,
            ++nextId,
          ).reverse(),
        );
        const mingled = one
          .flatMap((piece, i) => [piece, ...two.slice(i, i + 1)])
          .concat(two.slice(one.length));
        const got = await sendRaw(from, mingled, { port: sport, count: 2 });
        const payloads = got.map((line) => (JSON.parse(line) as { payload: string }).payload);
        t.same(payloads.sort(), texts, `${from.name} to ${host}, answered by ${echo.backend.name}`);
      }
    }
  });

  t.test(`answers whose fragments come in reverse order (S-85), IP${family}`, async (t) => {
    const [, echo] = echoes as readonly [Echo, Echo];
    // To a pod the answer is addressed to a client that is nothing to us until the first piece shows its ports; to a
    // host outside it comes to the node itself, which had put its own address in place of the client's.
    for (const { from, host, port } of ways(echo, family)) {
      const sport = nextPort++;
      const hello = ip(from[family], host).udp({ sport, dport: port }).payload('hello').bytes();
      const heard = sendRaw(from, [hello], { port: sport, count: 2 });
      const source = from === dora ? dora : node;
      await agent.until('the flow', async () => {
        const page = await agent.get('/v1/flows?limit=1000');
        return page.body.includes(String(sport)) ? true : undefined;
      });
      const text = 'answer '.repeat(500);
      const answer = ip(far[family], source[family])
        .udp({ sport: echoPort, dport: sport })
        .payload(text)
        .bytes();
      await sendRaw(far, cut(answer, 504, ++nextId).reverse());
      const [, second] = await heard;
      t.equal(second, text, `to ${from.name} through ${host}`);
    }
  });
}

t.test('TCP segments that a router fragments (S-85), IPv4', async (t) => {
  await client.netns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 1 }); // no DF: routers cut what is too long
  for (const target of ['10.96.0.0/16', `${node.v4}/32`])
    await lab.router.ip([`route replace ${target} via ${node.v4} dev leg2 mtu 600`]);
  for (const echo of echoes) {
    for (const { from, host, port } of ways(echo, 'v4').filter(({ from }) => from === client)) {
      const whole = await from.actor.call('transfer', { host, port, bytes: 300_000 });
      t.equal(whole.received, whole.sent, `to ${host} ${String(port)}`);
    }
  }
  const { stdout } = await lab.router.run(['nstat', '-a', '-z', '-j', 'IpFragOKs']);
  const { kernel } = JSON.parse(stdout) as { kernel: { IpFragOKs: number } };
  t.ok(kernel.IpFragOKs > 0, 'the router has cut some');
});

t.test('no packet was dropped', async (t) => {
  const counts = await verdicts(agent);
  t.strictSame(dropped(counts), {});
  for (const verdict of ['FRAGMENT_HELD', 'FRAGMENTS_RELEASED']) t.ok((counts[verdict] ?? 0) > 0, verdict);
});
