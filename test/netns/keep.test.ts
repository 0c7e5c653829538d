// Affinity of clients, connections across edits, and UDP sockets that keep their port. The topology is drawn in
// test/support/lab/twonodes.ts.
import t, { type Test } from 'tap';
import type { ServiceText, SliceEndpoint } from '../support/kube/manifests.ts';
import { until } from '../support/run/process.ts';
import { leadsTo } from '../support/lab/agent.ts';
import { everyFrontend, TwoAgents, webPorts, type Where } from '../support/lab/twoagents.ts';
import { endpointsAt, type MachineName } from '../support/lab/twonodes.ts';
import { families } from '../support/lab/lab.ts';

t.setTimeout(300_000);
const setup = await TwoAgents.start(t);
const { nodes } = setup;
const { node1, node2, machines } = nodes;
const one = endpointsAt(nodes, { one: 'ready' });
const two = endpointsAt(nodes, { two: 'ready' });
const both = [...one, ...two];

let n = 160;
/** A service with every sort of frontend, and where it is dialled. */
function fresh(name: string) {
  const { text, addresses, nodePort } = everyFrontend(name, ++n);
  const frontends = (
    family: 'v4' | 'v6',
  ): Record<'cluster' | 'external' | 'balancer' | 'node1' | 'node2', Where> => ({
    cluster: { host: addresses.cluster[family], port: 80 },
    external: { host: addresses.external[family], port: 80 },
    balancer: { host: addresses.balancer[family], port: 80 },
    node1: { host: node1[family], port: nodePort },
    node2: { host: node2[family], port: nodePort },
  });
  return { text, frontends };
}

/** Puts a service and waits until both agents have it so: its affinity, and these endpoints for new connections. */
async function offer(service: ServiceText, endpoints: readonly SliceEndpoint[]): Promise<void> {
  setup.put(service, endpoints);
  await setup.settled(service.name, (body) => {
    if (body?.ports.length !== 4) return false;
    const sticky = body.ports.every(({ affinitySec }) => affinitySec === (service.affinity ?? 0));
    return sticky && leadsTo(body, endpoints);
  });
}

/** Who answers so many new connections. */
async function servers(client: MachineName, where: Where, tries: number): Promise<string[]> {
  const question = { protocol: 'TCP', ...where, servers: [], least: tries, most: tries, ms: 5_000 } as const;
  const answers = Object.keys(await setup.count(client, question));
  return [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].sort();
}

/** The one server of a client with affinity; fails when there are more. */
async function only(t: Test, client: MachineName, where: Where, why: string): Promise<string> {
  const found = await servers(client, where, 10);
  t.match(found, [/^(one|two|far)$/], `${why}: ${client} to ${where.host} ${String(where.port)}`);
  t.equal(found.length, 1);
  return found[0] ?? '';
}

const other = (server: string): SliceEndpoint[] => (server === 'one' ? two : one);

t.test('a client keeps its backend at every frontend of the port, through either node (S-77)', async (t) => {
  const { text, frontends } = fresh('sticky');
  await offer({ ...text, affinity: 600 }, both);
  for (const family of families) {
    const { cluster, external, balancer, node1: port1, node2: port2 } = frontends(family);
    for (const client of ['out', 'pod1', 'host2'] as const) {
      const mine = await only(t, client, cluster, 'the cluster address');
      const udp = { ...cluster, protocol: 'UDP' } as const;
      await only(t, client, udp, 'another port may have another, but keeps it');
      for (const where of [external, balancer])
        t.equal(await only(t, client, where, 'the same client'), mine);
      if (client === 'out')
        for (const where of [port1, port2]) t.equal(await only(t, client, where, 'by either node'), mine);
    }
  }
});

t.test('when its backend is gone the client moves, and stays at the new one (S-79)', async (t) => {
  const { text, frontends } = fresh('moving');
  const sticky = { ...text, affinity: 600 };
  const { cluster, node1: port1 } = frontends('v4');
  await offer(sticky, both);
  const first = await only(t, 'pod1', cluster, 'at first');
  await offer(sticky, other(first));
  const second = await only(t, 'pod1', cluster, 'its backend is gone');
  t.not(second, first);
  await offer(sticky, both);
  t.equal(await only(t, 'pod1', cluster, 'it may come back'), second, 'and does not win the client back');
  t.equal(await only(t, 'pod1', port1, 'another frontend'), second);
});

t.test('affinity switched on, off and on again, and expired (S-78, S-80)', async (t) => {
  const { text, frontends } = fresh('switched');
  const { cluster } = frontends('v4');
  await offer(text, both);
  t.strictSame(await servers('pod2', cluster, 40), ['one', 'two'], 'without');
  await offer({ ...text, affinity: 600 }, both);
  const mine = await only(t, 'pod2', cluster, 'with');
  await offer(text, both);
  t.strictSame(await servers('pod2', cluster, 40), ['one', 'two'], 'without, at once');
  // Each new connection starts the time anew: much longer than it altogether, never as long between two.
  await offer({ ...text, affinity: 2 }, both);
  const kept = await only(t, 'pod2', cluster, 'two seconds');
  for (let i = 0; i < 6; i++) {
    await new Promise((resolve) => setTimeout(resolve, 700));
    t.strictSame(await servers('pod2', cluster, 1), [kept], 'in time');
  }
  const moved = await until('another backend', async () => {
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const [server] = await servers('pod2', cluster, 1);
    return server === kept ? undefined : server;
  });
  t.match(moved, /^(one|two)$/, `after its time, not ${kept} (${mine} before)`);
});

t.test('an open connection outlives every edit of its service (S-45, S-72, S-89)', async (t) => {
  for (const family of families) {
    const { text, frontends } = fresh(`open-${family}`);
    await offer(text, one);
    const { cluster, external, balancer, node1: port1 } = frontends(family);
    const held: { client: MachineName; id: number }[] = [];
    for (const [client, where] of [
      ['out', port1],
      ['out', balancer],
      ['pod1', external],
      ['pod2', cluster],
      ['host2', port1],
      ['host1', cluster],
    ] as const)
      held.push({ client, id: (await machines[client].actor.call('open', where)).id });
    const still = async (what: string): Promise<void> => {
      for (const { client, id } of held)
        t.equal(await machines[client].actor.call('ask', { id, text: what }), what, `IP${family}, ${client}`);
    };
    await still('as it was');
    await offer(text, two);
    await still('another endpoint');
    await offer({ ...text, affinity: 600 }, both);
    await still('affinity');
    await offer({ ...text, externalTrafficPolicy: 'Local', healthCheckNodePort: 32_999 }, two);
    await still('Local');
    setup.put({ ...text, type: 'ClusterIP', externalIPs: [], ingress: [], ports: webPorts() }, two);
    await setup.sees(t, 'out', port1, 'refused', 'no node port any more');
    await still('another type');
    setup.folder.remove(`${text.name}.yaml`);
    await setup.settled(text.name, (body) => body === undefined);
    await still('deleted');
    for (const { client, id } of held) await machines[client].actor.call('shut', { id });
  }
});

/**
 * Sends from one socket until the wanted server answers: nothing is lost but what was sent while no server could
 * answer.
 */
async function reaches(client: MachineName, id: number, server: string): Promise<void> {
  await until(`${client} to reach ${server}`, async () => {
    const reply = await machines[client].actor
      .call('askUdp', { id, text: '?', ms: 500 })
      .catch(() => undefined);
    return reply?.server === server ? true : undefined;
  });
}

const sockets = [
  ['pod1', 'cluster'],
  ['host1', 'cluster'],
  ['out', 'node1'],
  ['out', 'balancer'],
  ['pod2', 'external'],
] as const;

t.test('a UDP client that keeps its port follows the pod that is replaced (S-90)', async (t) => {
  for (const family of families) {
    const { text, frontends } = fresh(`udp-${family}`);
    await offer(text, one);
    for (const [client, frontend] of sockets) {
      const { actor } = machines[client];
      const { id } = await actor.call('openUdp', frontends(family)[frontend]);
      await reaches(client, id, 'one');
      await offer(text, two);
      t.equal((await actor.call('askUdp', { id, text: '?' })).server, 'two', `${client} ${frontend}`);
      await actor.call('shutUdp', { id });
      await offer(text, one);
    }
  }
});

t.test(
  'internalTrafficPolicy Local, scaled to none and back: the socket comes back too (S-90)',
  async (t) => {
    const { text, frontends } = fresh('black-hole');
    const local: ServiceText = { ...text, internalTrafficPolicy: 'Local' };
    await offer(local, one);
    const { actor } = machines.pod1;
    const { id } = await actor.call('openUdp', frontends('v4').cluster);
    await reaches('pod1', id, 'one');
    await offer(local, []);
    const fresher = await actor.call('openUdp', frontends('v4').cluster);
    await t.rejects(actor.call('askUdp', { id: fresher.id, text: '?', ms: 500 }), { code: 'ECONNREFUSED' });
    await offer(local, one);
    for (const socket of [id, fresher.id]) {
      await reaches('pod1', socket, 'one');
      await actor.call('shutUdp', { id: socket });
    }
    t.pass('both');
  },
);

t.test('a client that sent before the Service existed is served afterwards (S-90a)', async (t) => {
  const { text, frontends } = fresh('early');
  const waiting: { client: MachineName; id: number }[] = [];
  for (const [client, frontend] of sockets) {
    const { id } = await machines[client].actor.call('openUdp', frontends('v4')[frontend]);
    await t.rejects(
      machines[client].actor.call('askUdp', { id, text: '?', ms: 300 }),
      `${client} ${frontend}`,
    );
    waiting.push({ client, id });
  }
  await offer(text, one);
  for (const { client, id } of waiting) {
    await reaches(client, id, 'one');
    await machines[client].actor.call('shutUdp', { id });
  }
  t.pass('all of them');
});
