// UDP sockets that were translated to a backend and go on sending after it is gone (S-90): real programs, which
// connect again when their socket fails. The topology is drawn in test/support/lab/twonodes.ts.
import t, { type Test } from 'tap';
import { Agent, leadsTo } from '../support/lab/agent.ts';
import type { Sent } from '../support/actors/senders.ts';
import type { ServiceText, SliceEndpoint } from '../support/kube/manifests.ts';
import { until } from '../support/run/process.ts';
import { everyFrontend, TwoAgents, type Where } from '../support/lab/twoagents.ts';
import { endpointsAt, type Condition, type MachineName } from '../support/lab/twonodes.ts';

t.setTimeout(300_000);
const flags = ['--xdp', 'off'];
const setup = await TwoAgents.start(t, flags, 'on');
const { nodes, folder } = setup;
const { node1, node2, machines } = nodes;
let [agent1, agent2] = setup.agents;
t.teardown(() => Promise.all([agent1.stop(), agent2.stop()]));

const at = (wanted: Readonly<Partial<Record<MachineName, Condition>>>): SliceEndpoint[] =>
  endpointsAt(nodes, wanted);
const one = at({ one: 'ready' });
const two = at({ two: 'ready' });

const families = ['v4', 'v6', 'mapped'] as const;
type FamilyName = (typeof families)[number];

let n = 200;
/** A service with every sort of frontend, and where clients of each family dial it. */
function fresh(name: string) {
  const { text, addresses, nodePort } = everyFrontend(name, ++n);
  const hostOf = ({ v4, v6 }: { v4: string; v6: string }, family: FamilyName): string =>
    family === 'mapped' ? `::ffff:${v4}` : family === 'v4' ? v4 : v6;
  const cluster = (family: FamilyName): Where => ({ host: hostOf(addresses.cluster, family), port: 80 });
  const nodeOne = (family: FamilyName): Where => ({ host: hostOf(node1, family), port: nodePort });
  const loopback = { v4: '127.0.0.1', v6: '::1' };
  const localhost = (family: FamilyName): Where => ({ host: hostOf(loopback, family), port: nodePort });
  return { text, cluster, nodeOne, localhost };
}

/**
 * Puts a service and waits until both agents have it in their kernels with so many backends for new connections a
 * family.
 */
async function offer(service: ServiceText, endpoints: readonly SliceEndpoint[]): Promise<void> {
  setup.put(service, endpoints);
  await setup.settled(service.name, (body) => leadsTo(body, endpoints));
}

/** A client that sends all the time. */
interface Client {
  readonly name: string;
  sent(): Promise<Sent>;
  /** Until it is answered by this server. */
  reaches(server: string): Promise<Sent>;
}

async function start(t: Test, client: MachineName, where: Where, connected = true): Promise<Client> {
  const { actor } = machines[client];
  const id = await actor.call('startSender', { ...where, connected });
  t.teardown(() => actor.call('stopSender', { id }));
  const name = `${client} to ${where.host} ${String(where.port)}`;
  const sent = (): Promise<Sent> => actor.call('senderState', { id });
  const reaches = (server: string): Promise<Sent> =>
    until(`${name} to reach ${server}`, async () => {
      const state = await sent();
      return state.server === server ? state : undefined;
    });
  return { name, sent, reaches };
}

/** Starts clients until each of the servers has some. */
async function startAtBoth(t: Test, client: MachineName, where: Where): Promise<Map<string, Client[]>> {
  const byServer = new Map<string, Client[]>([
    ['one', []],
    ['two', []],
  ]);
  for (let tries = 0; [...byServer.values()].some((clients) => clients.length === 0); tries++) {
    if (tries === 60) throw new Error(`60 clients of ${client}, all at one server`);
    const sender = await start(t, client, where);
    const { server } = await until('an answer', async () => {
      const state = await sender.sent();
      return state.server === '' ? undefined : state;
    });
    byServer.get(server)?.push(sender);
  }
  return byServer;
}

const became = ({ dials, errors }: Sent): object => ({ dials, errors });
const untouched = { dials: 1, errors: {} };
const movedOnce = { dials: 2, errors: { ECONNABORTED: 1 } };

/** A client whose backend goes now. Once it has moved, every socket has been looked at since. */
async function marker(t: Test): Promise<() => Promise<void>> {
  const { text, cluster } = fresh(`marker-${String(n)}`);
  await offer(text, one);
  const clients = [await start(t, 'pod1', cluster('v4')), await start(t, 'host1', cluster('v6'))];
  for (const client of clients) await client.reaches('one');
  return async () => {
    await offer(text, two);
    for (const client of clients) t.strictSame(became(await client.reaches('two')), movedOnce, 'the marker');
  };
}

for (const family of families) {
  t.test(
    `a backend is removed: its clients connect again, others are not affected, ${family} (S-90)`,
    async (t) => {
      const [web, other] = [fresh(`web-${family}`), fresh(`other-${family}`)];
      await offer(web.text, [...one, ...two]);
      await offer(other.text, one);
      for (const client of ['pod1', 'host1', 'pod2'] as const) {
        const neighbour = await start(t, client, other.cluster(family));
        await neighbour.reaches('one');
        const clients = await startAtBoth(t, client, web.cluster(family));
        await offer(web.text, two);
        for (const sender of clients.get('one') ?? [])
          t.strictSame(
            became(await sender.reaches('two')),
            movedOnce,
            `${sender.name}, of the backend that went`,
          );
        for (const sender of clients.get('two') ?? [])
          t.strictSame(became(await sender.sent()), untouched, `${sender.name}, of the one that stays`);
        t.strictSame(became(await neighbour.sent()), untouched, 'the same pod as another service has it');
        await offer(web.text, [...one, ...two]);
      }
    },
  );
}

t.test('the same at NodePorts of this node, at loopback, and with local policies (S-57, S-90)', async (t) => {
  const cases = [
    ['pod1', 'nodeOne', 'Cluster', one, two, 'two'],
    ['host1', 'nodeOne', 'Cluster', one, two, 'two'],
    ['host1', 'localhost', 'Cluster', one, two, 'two'],
    ['pod1', 'cluster', 'Local', one, at({ host1: 'ready', two: 'ready' }), 'host1'],
    ['host1', 'cluster', 'Local', one, at({ host1: 'ready', two: 'ready' }), 'host1'],
  ] as const;
  for (const [client, frontend, policy, before, after, server] of cases) {
    const { text, ...where } = fresh(`case-${String(n)}`);
    const service: ServiceText = { ...text, internalTrafficPolicy: policy };
    await offer(service, before);
    const senders = [
      await start(t, client, where[frontend]('v4')),
      await start(t, client, where[frontend]('v6')),
    ];
    for (const sender of senders) await sender.reaches('one');
    await offer(service, after);
    for (const sender of senders)
      t.strictSame(became(await sender.reaches(server)), movedOnce, `${sender.name} ${policy}`);
  }
});

t.test('a backend that terminates keeps its clients while it serves (S-26, S-90)', async (t) => {
  const { text, cluster } = fresh('leaving');
  await offer(text, one);
  const client = await start(t, 'pod1', cluster('v4'));
  const leaving = await client.reaches('one');
  const move = await marker(t);
  await offer(text, at({ one: 'terminating', two: 'ready' }));
  await move();
  t.strictSame(await client.sent(), { ...leaving, ...untouched }, 'it leaves');
  await offer(text, two);
  t.strictSame(became(await client.reaches('two')), movedOnce, 'it has left');
});

t.test('the only backend is removed: its sockets stay until there is another (S-90)', async (t) => {
  const [last, back] = [fresh('last'), fresh('back')];
  for (const { text } of [last, back]) await offer(text, one);
  const [moves, stays] = [
    await start(t, 'pod1', last.cluster('v4')),
    await start(t, 'pod1', back.cluster('v6')),
  ];
  for (const client of [moves, stays]) await client.reaches('one');
  const move = await marker(t);
  for (const { text } of [last, back]) await offer(text, []);
  await move();
  for (const client of [moves, stays])
    t.strictSame(became(await client.sent()), untouched, 'no other socket');
  await offer(back.text, one);
  await offer(last.text, two);
  t.strictSame(became(await moves.reaches('two')), movedOnce, 'another');
  t.strictSame(became(await stays.sent()), untouched, 'the same one again');
  await offer(back.text, two);
  t.strictSame(became(await stays.reaches('two')), movedOnce, 'which goes in earnest');
});

t.test('a socket ends with its Service, whose address another Service may have taken (S-20)', async (t) => {
  const { text, cluster } = fresh('deleted');
  await offer(text, one);
  const client = await start(t, 'host1', cluster('v4'));
  await client.reaches('one');
  folder.remove(`${text.name}.yaml`);
  await until('its error', async () => (await client.sent()).dials > 1);
  t.equal((await client.sent()).errors['ECONNABORTED'], 1);
});

t.test('unconnected sockets move with the next datagram, and TCP stays (S-89, S-90)', async (t) => {
  for (const family of families) {
    const { text, cluster } = fresh(`loose-${family}`);
    await offer(text, one);
    const where = cluster(family);
    for (const client of ['pod1', 'host1'] as const) {
      const sender = await start(t, client, where, false);
      await sender.reaches('one');
      const { actor } = machines[client];
      const { id } = await actor.call('open', where);
      const move = await marker(t);
      await offer(text, two);
      const { host, port } = where;
      const from = `${host.replace('::ffff:', '')} ${String(port)}`;
      t.strictSame(await sender.reaches('two'), { ...untouched, server: 'two', from }, 'by itself');
      await move();
      t.equal(await actor.call('ask', { id, text: 'still' }), 'still', 'the connection');
      t.strictSame(became(await sender.sent()), untouched, 'the socket too');
      await actor.call('shut', { id });
      await offer(text, one);
    }
  }
});

t.test(
  'sockets of a backend removed while no agent ran are ended by the next one (S-90, S-103)',
  async (t) => {
    const { text, cluster } = fresh('unseen');
    await offer(text, one);
    const clients = [await start(t, 'pod1', cluster('v4')), await start(t, 'host1', cluster('v6'))];
    for (const client of clients) await client.reaches('one');
    await Promise.all([agent1.kill(), agent2.kill()]);
    setup.put(text, two);
    const options = { manifests: folder.path, flags, socketHooks: 'on' } as const;
    [agent1, agent2] = await Promise.all([Agent.start(node1, options), Agent.start(node2, options)]);
    for (const client of clients) t.strictSame(became(await client.reaches('two')), movedOnce, client.name);
  },
);

t.test('ended sockets are logged and counted', async (t) => {
  const { body } = await agent1.get('/metrics');
  const [, destroyed = '0'] = /^sluice_sockets_destroyed_total (\d+)$/m.exec(body) ?? [];
  t.ok(Number(destroyed) >= 2, destroyed);
  t.match(body, /^sluice_sockets_stranded_total 0$/m);
  t.match(agent1.log, /"code":"sockets\.destroyed"/);
});
