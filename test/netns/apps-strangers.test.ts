// Clients that have no use for the socket hooks are served packet by packet while these are on: a TCP of its own, a
// machine behind a pod, and sockets of the kernel itself.
//
//   guest ── eth0 ──── tap0 ── client ── eth0 ── node       for the rest see test/support/lab/apps.ts
//   (no cgroup)       masquerades
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { Apps, settings, type Setting } from '../support/lab/apps.ts';
import { startDaemon } from '../support/lab/daemon.ts';
import { bothAddresses, echoPort, echoService, serveEcho } from '../support/lab/echo.ts';
import { Netns, veth } from '../support/actors/netns.ts';
import { Actor } from '../support/actors/traffic.ts';

t.setTimeout(300_000);
const apps = await Apps.start(t);
const { client, one, two, node } = apps;
await serveEcho([one, two]);
const script = (name: string): string => fileURLToPath(new URL(`../support/lab/${name}`, import.meta.url));

const echo = echoService('echo', 10);
apps.offer({ service: echo, port: echoPort, endpoints: bothAddresses([one, two]) });
const multipath = { ...echoService('multipath', 11), port: 5_000 };
await startDaemon(one, multipath.port, ['python3', script('mptcp.py'), 'serve', String(multipath.port)]);
apps.offer({ service: multipath, port: multipath.port, endpoints: bothAddresses([one]) });

/** The test's sockets are not the hooks' business. */
async function byPackets(t: Test, setting: Setting, test: () => Promise<void>): Promise<void> {
  await apps.hooks(setting);
  const before = await apps.pointed();
  await test();
  t.equal(await apps.pointed(), before, 'none pointed at a backend');
}

const rawPorts = { v4: 7_004, v6: 7_006 };
// The kernel answers what it has no socket for, and would end the connection.
await client.netns.run(['nft', '-f', '-'], {
  input: `
table inet raw_tcp {
  chain out {
    type filter hook output priority 0;
    meta l4proto tcp tcp sport { ${Object.values(rawPorts).join(', ')} } tcp flags & (rst | ack) == rst drop
  }
}
`,
});

async function ownTcp(t: Test): Promise<void> {
  for (const family of ['v4', 'v6'] as const) {
    const port = String(rawPorts[family]);
    const command = ['python3', script('rawtcp.py'), client[family], port, echo[family], String(echoPort)];
    const { greeting, echo: said } = JSON.parse((await client.netns.run(command)).stdout) as {
      greeting: string;
      echo: string;
    };
    const { server, client: seen } = JSON.parse(greeting) as { server: string; client: string };
    t.match(server, /^(one|two)$/, `IP${family}`);
    t.equal(seen, `${client[family]} ${port}`, 'the server sees the pod');
    t.equal(said, 'said by hand');
  }
}

/**
 * As KubeVirt and the like have it: the machine shares the pod's address, and none of its processes is in the node's
 * cgroup.
 */
async function startGuest(): Promise<Actor> {
  const guest = await Netns.create('guest');
  await veth({ netns: client.netns, device: 'tap0' }, { netns: guest, device: 'eth0' });
  await client.netns.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  await client.netns.ip([
    'link set tap0 up',
    'addr add 198.51.100.1/24 dev tap0',
    'addr add fd00:99::1/64 dev tap0 nodad',
  ]);
  await guest.ip([
    'link set eth0 up',
    'addr add 198.51.100.2/24 dev eth0',
    'addr add fd00:99::2/64 dev eth0 nodad',
    'route add default via 198.51.100.1',
    'route add default via fd00:99::1',
  ]);
  await client.netns.run(['nft', '-f', '-'], {
    input: `
table inet guest {
  chain after {
    type nat hook postrouting priority srcnat;
    oifname eth0 ip saddr 198.51.100.0/24 masquerade
    oifname eth0 ip6 saddr fd00:99::/64 masquerade
  }
}
`,
  });
  return Actor.start(guest);
}

const guest = await startGuest();
t.teardown(() => guest.close());

async function machineBehindPod(t: Test): Promise<void> {
  for (const family of ['v4', 'v6'] as const) {
    const where = { host: echo[family], port: echoPort };
    const streams = await guest.call('crowd', { ...where, connections: 50 });
    t.strictSame(streams.errors, {}, `TCP over IP${family}`);
    t.strictSame(Object.keys(streams.servers).sort(), ['one', 'two'], 'spread');
    const datagrams = await guest.call('datagrams', { ...where, sockets: 50, each: 3 });
    t.strictSame(datagrams.errors, {}, `UDP over IP${family}`);
    t.strictSame(Object.keys(datagrams.servers).sort(), ['one', 'two'], 'spread');
  }
}

/**
 * Above the kernel's own TCP socket, which the hooks see, there is another, whose address must stay what it was told.
 */
async function kernelSockets(t: Test): Promise<void> {
  for (const { netns, name } of [client, node]) {
    for (const family of ['v4', 'v6'] as const) {
      const ask = ['python3', script('mptcp.py'), 'ask', multipath[family], String(multipath.port)];
      const found = JSON.parse((await netns.run(ask)).stdout) as object;
      const wanted = { line: 'served', peer: multipath[family], multipath: true };
      t.strictSame(found, wanted, `from the ${name}, IP${family}`);
    }
  }
}

for (const setting of settings) {
  t.test(`a TCP stack in user space, by raw sockets; socket hooks ${setting} (S-52)`, (t) =>
    byPackets(t, setting, () => ownTcp(t)),
  );

  t.test(`a virtual machine behind a pod; socket hooks ${setting} (S-52)`, (t) =>
    byPackets(t, setting, () => machineBehindPod(t)),
  );

  t.test(`sockets of the kernel: Multipath TCP; socket hooks ${setting} (S-52)`, (t) =>
    byPackets(t, setting, async () => {
      const before = await apps.left();
      await kernelSockets(t);
      const left = (await apps.left()) - before;
      if (setting === 'on') t.ok(left >= 4, `${String(left)} left to the packet path`);
      else t.equal(left, 0, 'no hook was asked');
    }),
  );
}
