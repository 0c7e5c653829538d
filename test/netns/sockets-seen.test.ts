// What is shown of sockets that were translated to a backend: counters to the last connection and byte, flows,
// status. All on one node:
//
//   pod, and host on the node itself     clients
//   a, b                                 backends of the service "web"
//   c                                    that of "other"
//   d                                    that of "mute", which has no way back to its clients
import t from 'tap';
import type { Counters, Flow, FlowPage, ServiceDetail, Status } from '../../src/api/bodies.ts';
import { sluice } from '../support/lab/agent.ts';
import { echoService, serveEcho, servicePort, type EchoService } from '../support/lab/echo.ts';
import { until } from '../support/run/process.ts';
import { Actor } from '../support/actors/traffic.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(240_000);
const { node, offer, startAgent } = await oneNode(t);
const pod = await node.pod('pod');
const [a, b] = [await node.pod('a'), await node.pod('b', 'ptp')];
const [c, d] = [await node.pod('c'), await node.pod('d')];
await serveEcho([a, b, c, d]);
await d.netns.ip([pod, node].map(({ v4 }) => `route add blackhole ${v4}/32`));

const options = { socketHooks: 'on', flags: ['--xdp', 'off'] } as const;
const [web, other] = [echoService('web', 10), echoService('other', 11)];
const [empty, mute] = [echoService('empty', 12), echoService('mute', 13)];
for (const [service, backends] of [
  [web, [a, b]],
  [other, [c]],
  [empty, []],
  [mute, [d]],
] as const)
  offer(service, backends);
let agent = await startAgent(options);

const clients = { pod, host: node } as const;
const families = ['v4', 'v6', 'mapped'] as const;
type FamilyName = (typeof families)[number];

function at(service: EchoService, family: FamilyName) {
  const host = family === 'mapped' ? `::ffff:${service.v4}` : service[family];
  return { host, port: servicePort };
}

/** What the counters of one port of a service say, its own and the sum of its backends'. */
async function countersOf(service: EchoService, protocol: 'TCP' | 'UDP', family: FamilyName) {
  const { ports, backends } = await agent.json<ServiceDetail>(`/v1/services/lab/${service.name}`);
  const isSix = family === 'v6';
  const own = ports.find((port) => port.protocol === protocol && (port.family === 'IPv6') === isSix);
  if (own === undefined) throw new Error(`${service.name} has no such port`);
  const at = backends.filter((one) => one.protocol === protocol && one.address.includes(':') === isSix);
  const sum = (name: keyof Counters): number => at.reduce((all, { counters }) => all + counters[name], 0);
  const { counters } = own;
  return {
    ...{ connections: counters.connections, active: counters.active, refused: counters.refused },
    ...{ sent: counters.bytesIn, received: counters.bytesOut, packets: counters.packetsIn },
    backends: {
      ...{ connections: sum('connections'), active: sum('active') },
      ...{ sent: sum('bytesIn'), received: sum('bytesOut') },
    },
  };
}
type Seen = Awaited<ReturnType<typeof countersOf>>;

/** The same by how much it grows from now on. */
async function watch(service: EchoService, protocol: 'TCP' | 'UDP', family: FamilyName) {
  const minus = (x: object, y: object): object =>
    Object.fromEntries(
      Object.entries(x).map(([name, value]) => {
        const before = (y as Record<string, unknown>)[name];
        return [
          name,
          typeof value === 'number' ? value - Number(before) : minus(value as object, before as object),
        ];
      }),
    );
  const start = await countersOf(service, protocol, family);
  const growth = async (): Promise<Seen> => minus(await countersOf(service, protocol, family), start) as Seen;
  const closed = (): Promise<Seen> =>
    until('its sockets to be closed', async () => {
      const seen = await growth();
      return seen.active === 0 ? seen : undefined;
    });
  return { growth, closed };
}

/** Of a service and its backends alike. */
const numbers = (connections: number, active: number, sent = 0, received = 0): object => ({
  ...{ connections, active, sent, received, refused: 0, packets: 0 },
  backends: { connections, active, sent, received },
});

async function flowsOf(query: string): Promise<readonly Flow[]> {
  const { flows } = await agent.json<FlowPage>(`/v1/flows?limit=1000&${query}`);
  return flows;
}

for (const [name, { actor }] of Object.entries(clients)) {
  for (const family of families) {
    t.test(`TCP: connections, open ones and bytes are exact, ${name} ${family}`, async (t) => {
      const count = 12;
      const { growth, closed } = await watch(web, 'TCP', family);
      const opened = await Promise.all(
        Array.from({ length: count }, () => actor.call('open', at(web, family))),
      );
      t.same(await growth(), numbers(count, count), 'open');
      let sent = 0;
      let received = 0;
      for (const [i, { id, server, client }] of opened.entries()) {
        const text = 'x'.repeat(1 + 997 * i);
        t.equal(await actor.call('ask', { id, text }), text);
        sent += text.length + 1;
        received += JSON.stringify({ server, client }).length + 1 + text.length + 1;
      }
      t.same(await growth(), numbers(count, count), 'bytes are added at the end');
      const [first, ...rest] = opened;
      await actor.call('shut', { id: first!.id });
      await until('one to be closed', async () => (await growth()).active === count - 1);
      for (const { id } of rest) await actor.call('shut', { id });
      t.same(await closed(), numbers(count, 0, sent, received), 'closed');
    });

    t.test(`TCP: handshake and close count no bytes, ${name} ${family}`, async (t) => {
      const { growth, closed } = await watch(other, 'TCP', family);
      const { id, server, client } = await actor.call('open', at(other, family));
      await actor.call('shut', { id });
      const greeting = JSON.stringify({ server, client }).length + 1; // all ports here have five digits
      const line = 'line 0\n'.length;
      const { errors } = await actor.call('crowd', { ...at(other, family), connections: 10 });
      t.same(errors, {});
      await closed();
      t.same(await growth(), numbers(11, 0, 10 * line, 11 * greeting + 10 * line));
    });

    t.test(`UDP: a connected socket counts when it connects, ${name} ${family}`, async (t) => {
      const { growth, closed } = await watch(web, 'UDP', family);
      const { id } = await actor.call('openUdp', at(web, family));
      t.same(await growth(), numbers(1, 1), 'before anything is sent');
      for (const text of ['one', 'two']) await actor.call('askUdp', { id, text });
      t.same(await growth(), numbers(1, 1));
      await actor.call('shutUdp', { id });
      t.same(await closed(), numbers(1, 0));
    });

    t.test(
      `UDP: an unconnected socket counts at each Service that it sends to, ${name} ${family}`,
      async (t) => {
        const [one, two] = [await watch(web, 'UDP', family), await watch(other, 'UDP', family)];
        const id = await actor.call('openLoose', { type: family === 'v4' ? 'udp4' : 'udp6' });
        t.same([await one.growth(), await two.growth()], [numbers(0, 0), numbers(0, 0)], 'neither counts it');
        for (const text of ['one', 'two']) await actor.call('askLoose', { id, text, ...at(web, family) });
        t.same([await one.growth(), await two.growth()], [numbers(1, 1), numbers(0, 0)], 'to one');
        await actor.call('askLoose', { id, text: 'three', ...at(other, family) });
        t.same([await one.growth(), await two.growth()], [numbers(1, 1), numbers(1, 1)], 'to both');
        await actor.call('shutUdp', { id });
        t.same([await one.closed(), await two.closed()], [numbers(1, 0), numbers(1, 0)]);
      },
    );
  }
}

t.test('the sockets of a killed process are counted as closed', async (t) => {
  const [tcp, udp] = [await watch(web, 'TCP', 'v4'), await watch(web, 'UDP', 'v6')];
  const doomed = await Actor.start(pod.netns);
  t.teardown(() => doomed.close());
  const { id, server, client } = await doomed.call('open', at(web, 'v4'));
  await doomed.call('open', at(web, 'v4'));
  await doomed.call('ask', { id, text: 'last words' });
  await doomed.call('openUdp', at(web, 'v6'));
  const loose = await doomed.call('openLoose', { type: 'udp6' });
  await doomed.call('askLoose', { id: loose, text: 'one', ...at(web, 'v6') });
  t.match([await tcp.growth(), await udp.growth()], [numbers(2, 2), numbers(2, 2)]);
  await doomed.close();
  const greetings = 2 * (JSON.stringify({ server, client }).length + 1);
  const line = 'last words\n'.length;
  t.same(await tcp.closed(), numbers(2, 0, line, greetings + line));
  t.same(await udp.closed(), numbers(2, 0));
});

t.test('a refused connect() counts as refused alone', async (t) => {
  for (const { actor } of Object.values(clients)) {
    for (const family of families) {
      const { growth } = await watch(empty, 'TCP', family);
      for (let n = 1; n <= 3; n++) {
        await t.rejects(actor.call('open', at(empty, family)), { code: 'ECONNREFUSED' });
        t.match(await growth(), { refused: n, connections: 0, active: 0 });
      }
    }
  }
});

for (const [name, { actor }] of Object.entries(clients)) {
  for (const family of families) {
    const frontend = { address: family === 'v6' ? web.v6 : web.v4, port: servicePort };
    t.test(`the flow list and getpeername show the service, ${name} ${family}`, async (t) => {
      const { id, local, peer } = await actor.call('open', at(web, family));
      t.equal(peer, `${frontend.address} ${String(servicePort)}`, 'getpeername');
      const [address = '', port] = local.split(' ');
      const client = { address, port: Number(port) };
      const [flow, ...more] = (await flowsOf(`service=lab/web&client=${address}`)).filter(
        (one) => one.client.port === client.port,
      );
      t.same(more, []);
      t.match(flow, {
        ...{ via: 'socket', protocol: 'TCP', state: 'established', client, frontend, source: client },
        ...{ namespace: 'lab', service: 'web', portName: 'tcp', hairpin: false, masqueraded: false },
      });
      t.notOk('idleSec' in flow!, 'a TCP socket is not looked at again');
      const addresses = [a, b].map((backend) => (family === 'v6' ? backend.v6 : backend.v4));
      t.ok(addresses.includes(flow!.backend.address) && flow!.backend.port === 8080, 'its backend');
      await actor.call('shut', { id });
      await until('the flow to go', async () =>
        (await flowsOf(`client=${address}`)).every((one) => one.client.port !== client.port),
      );
    });
  }
}

t.test('flows of UDP: the client port is known after the first datagram', async (t) => {
  const { actor } = pod;
  const connected = await actor.call('openUdp', at(web, 'v4'));
  const loose = await actor.call('openLoose', { type: 'udp4' });
  const ask = () => actor.call('askLoose', { id: loose, text: 'who?', ...at(web, 'v4') });
  const { client, from } = await ask();
  t.equal(from, `${web.v4} ${String(servicePort)}`, 'recvmsg');
  const flows = async () => (await flowsOf('service=lab/web')).filter(({ protocol }) => protocol === 'UDP');
  const isLoose = (flow: Flow): boolean => 'idleSec' in flow;
  t.match(
    (await flows()).find((flow) => !isLoose(flow)),
    { via: 'socket', state: 'established', client: { address: '' } },
    'a connected one',
  );
  const told = await until('the port', async () => {
    await ask();
    return (await flows()).find((flow) => isLoose(flow) && flow.client.port !== 0);
  });
  t.match(told, { state: 'established', client: { address: '', port: Number(client.split(' ')[1]) } });
  for (const id of [connected.id, loose]) await actor.call('shutUdp', { id });
  await until('both to go', async () => (await flows()).length === 0);
});

t.test('a TCP socket is half-open until its backend answers', async (t) => {
  const waiting = pod.actor.call('open', at(mute, 'v4'));
  const ended = t.rejects(waiting);
  const [flow] = await until('the flow', async () => {
    const flows = await flowsOf('service=lab/mute');
    return flows.some(({ client }) => client.address === pod.v4) ? flows : undefined;
  });
  t.match(flow, { via: 'socket', state: 'half-open', backend: { address: d.v4 } });
  t.match(await countersOf(mute, 'TCP', 'v4'), { connections: 1, active: 1 });
  await ended;
  await until('its end', async () => (await flowsOf('service=lab/mute')).length === 0);
});

t.test('the next agent goes on counting; status, metrics and tables show the sockets (S-103)', async (t) => {
  const { growth, closed } = await watch(web, 'TCP', 'v4');
  const open = async (): Promise<number> => (await pod.actor.call('open', at(web, 'v4'))).id;
  const [first, second] = [await open(), await open()];
  await agent.kill();
  const third = await open();
  await pod.actor.call('shut', { id: first });
  agent = await startAgent(options);
  await until('the first to be closed', async () => (await growth()).active === 2);
  t.match(await growth(), { connections: 3, backends: { connections: 3, active: 2 } });

  const status = await until('the rows to be counted', async () => {
    const found = await agent.json<Status>('/v1/status');
    return found.maps.find(({ name }) => name === 'slb_sockets')?.used === 2 ? found : undefined;
  });
  t.same(status.socketHooks, { state: 'on', detail: node.cgroup });
  t.ok(
    status.verdicts.some(
      ({ hook, verdict, packets }) => `${hook} ${verdict}` === 'sock SOCKET_NEW' && packets > 0,
    ),
  );
  const { body } = await agent.get('/metrics');
  t.match(body, /^sluice_socket_hooks 1$/m);
  t.match(
    body,
    /^sluice_service_sockets_active\{.*service="web",port="tcp",protocol="TCP",family="IPv4"\} 2$/m,
  );
  t.match(body, /^sluice_map_entries\{map="slb_sockets"\} 2$/m);
  t.match((await sluice(node, 'status')).stdout, /^socket hooks +on, at /m);
  t.match((await sluice(node, 'flows')).stdout, /^TCP +socket +\S+ +lab\/web .* established +\S+ +-$/m);
  t.match((await sluice(node, 'services', 'lab/web')).stdout, /^tcp +TCP +IPv4 +- +\d+ +2 /m);
  for (const id of [second, third]) await pod.actor.call('shut', { id });
  t.match(await closed(), { connections: 3 });
});
