// Replies: hairpins, equal source ports, ICMP errors of firewalls and routers, a second network card, small MTUs.
// Strict reverse path filters everywhere; the topology is drawn in test/support/lab/twonodes.ts.
import { join } from 'node:path';
import t from 'tap';
import { dropped, verdicts } from '../support/lab/echo.ts';
import { serviceDocument, sliceDocuments, type Policy } from '../support/kube/manifests.ts';
import { Netns, veth } from '../support/actors/netns.ts';
import { everyFrontend, TwoAgents, type Where } from '../support/lab/twoagents.ts';
import { Actor } from '../support/actors/traffic.ts';
import { endpointsAt, nodeOf, type MachineName } from '../support/lab/twonodes.ts';
import { families } from '../support/lab/lab.ts';

t.setTimeout(300_000);
const setup = await TwoAgents.start(t, ['--xdp', 'off', '--uplinks', 'eth*']);
const { nodes } = setup;
const { node1, node2, machines, lab } = nodes;
const { one, pod1, far, out } = machines;
const protocols = ['TCP', 'UDP'] as const;

let n = 100;
const fresh = (name: string, policy?: Policy) => everyFrontend(name, ++n, policy);

t.test('a backend reaches itself through every frontend, with another source (S-66)', async (t) => {
  for (const client of ['one', 'two'] as const) {
    const node = nodeOf(client) === 'node1' ? node1 : node2;
    for (const policy of ['Cluster', 'Local'] as const) {
      const { text, addresses, nodePort } = fresh(`itself-${client}-${policy.toLowerCase()}`, policy);
      setup.put(text, endpointsAt(nodes, { [client]: 'ready' }));
      // Not asked before: what no proxy takes would come back from the router, with a source that is none of its.
      await setup.settled(text.name, (body) => body !== undefined);
      for (const family of families) {
        for (const protocol of protocols) {
          const { cluster, external, balancer } = addresses;
          // Its own source would do where nothing is masqueraded, but it would answer itself: it sees what it dialled.
          const seen = (address: string): string => (policy === 'Cluster' ? node.name : address);
          const ask = (host: string, port: number, source: string): Promise<void> =>
            setup.sees(t, client, { host, port, protocol }, `${client} ${source}`, policy);
          await ask(cluster[family], 80, cluster[family]);
          await ask(external[family], 80, seen(external[family]));
          await ask(balancer[family], 80, seen(balancer[family]));
          await ask(node[family], nodePort, node.name);
        }
      }
    }
  }
  const { text, addresses } = fresh('itself-whole');
  setup.put(text, endpointsAt(nodes, { one: 'ready' }));
  await setup.settled(text.name, (body) => body !== undefined);
  for (const family of families) {
    const where = { host: addresses.external[family], port: 80 };
    await setup.sees(t, 'one', where, 'one node1', 'before much is sent');
    const whole = await one.actor.call('transfer', { ...where, bytes: 3_000_000 });
    t.equal(whole.received, whole.sent, `3 MB over IP${family}`);
  }
});

t.test("the backend sees the address of the node's outgoing device (S-67, S-68)", async (t) => {
  const { text, nodePort } = fresh('source');
  setup.put(text, endpointsAt(nodes, { one: 'ready', two: 'ready', far: 'ready' }));
  const expected = {
    v4: { one: '10.244.1.1', two: node1.v4, far: node1.v4 },
    v6: { one: 'fd00:244:1::1', two: node1.v6, far: node1.v6 },
  };
  for (const family of families) {
    const where: Where = { host: node1[family], port: nodePort };
    await setup.sees(t, 'out', where, 'far+one+two node1', 'all three');
    const servers = ['one', 'two', 'far'];
    const question = { protocol: 'TCP', ...where, servers, least: 5, most: 60, ms: 5_000 } as const;
    const pairs = Object.keys(await setup.count('out', question)).map((pair) => pair.split(' '));
    t.strictSame(Object.fromEntries(pairs), expected[family], `IP${family}`);
  }
});

t.test('clients with equal source ports at one NodePort and backend (S-68)', async (t) => {
  const { text, nodePort } = fresh('equal');
  setup.put(text, endpointsAt(nodes, { one: 'ready' }));
  const clients = [out, far, machines.pod2, machines.host2];
  for (const family of families) {
    const where = { host: node1[family], port: nodePort };
    await setup.sees(t, 'out', where, 'one node1', 'it is there');
    const target = { ...where, localPort: 45_000 };
    const tcp = await Promise.all(clients.map(({ actor }) => actor.call('open', target)));
    t.equal(new Set(tcp.map(({ client }) => client)).size, clients.length, 'a source each');
    const udp = await Promise.all(clients.map(({ actor }) => actor.call('openUdp', target)));
    for (const [i, { actor, name }] of clients.entries()) {
      const [connection, socket] = [tcp[i]?.id ?? 0, udp[i]?.id ?? 0];
      t.equal(await actor.call('ask', { id: connection, text: name }), name, `TCP ${name}`);
      t.equal((await actor.call('askUdp', { id: socket, text: name })).payload, name, `UDP ${name}`);
      await actor.call('shut', { id: connection });
      await actor.call('shutUdp', { id: socket });
    }
  }
});

t.test('20 000 connections to one backend, half of them from ports in use (S-68)', async (t) => {
  const { text, nodePort } = fresh('many');
  setup.put(text, endpointsAt(nodes, { one: 'ready' }));
  await setup.sees(t, 'out', { host: node1.v4, port: nodePort }, 'one node1', 'it is there');
  for (let round = 0; round < 40; round++) {
    const connections = 250;
    const target = { host: node1[round % 2 === 0 ? 'v4' : 'v6'], port: nodePort };
    const options = { ...target, connections, firstPort: 10_000 + connections * round };
    const tallies = await Promise.all([out, far].map(({ actor }) => actor.call('crowd', options)));
    for (const { servers, errors } of tallies)
      t.strictSame({ servers, errors }, { servers: { one: connections }, errors: {} });
  }
});

async function learntMtu(client: MachineName, address: string): Promise<number | undefined> {
  interface Route {
    readonly metrics?: readonly { readonly mtu?: number }[];
  }
  const [route] = await machines[client].netns.ipJson<Route[]>(`route get ${address}`);
  return route?.metrics?.[0]?.mtu;
}

t.test('path MTU discovery works through a NodePort, in both directions (S-84)', async (t) => {
  const [away, home] = [fresh('away'), fresh('home')];
  setup.put(away.text, endpointsAt(nodes, { far: 'ready' }));
  setup.put(home.text, endpointsAt(nodes, { one: 'ready' }));
  const narrow = [
    `${far.v4}/32 dev leg2`,
    `${far.v6}/128 dev leg2`,
    `${out.v4}/32 dev leg1`,
    `${out.v6}/128 dev leg1`,
  ];
  await lab.router.ip(narrow.map((route) => `route add ${route} mtu 1300`));
  for (const family of families) {
    const gateway = family === 'v4' ? '10.244.1.1' : 'fd00:244:1::1';
    const [up, down] = [away, home].map(({ nodePort }) => ({ host: node1[family], port: nodePort }));
    if (up === undefined || down === undefined) throw new Error('two targets');
    await setup.sees(t, 'pod1', up, 'far node1', 'it is there');
    await setup.sees(t, 'out', down, 'one node1', 'it is there');
    const there = await pod1.actor.call('transfer', { ...up, bytes: 100_000 });
    t.equal(there.received, there.sent, `the error about a request reaches the client, IP${family}`);
    t.equal(await learntMtu('pod1', node1[family]), 1300, 'who has learnt it for the node');
    const back = await out.actor.call('transfer', { ...down, bytes: 100_000 });
    t.equal(back.received, back.sent, `the error about a reply reaches the backend, IP${family}`);
    t.equal(await learntMtu('one', gateway), 1300, 'which has learnt it for its node');
  }
  await lab.router.ip(narrow.map((route) => `route del ${route}`));
});

/** Of node1's cable, at both ends: the router's is its third. */
async function cableMtu(mtu: number): Promise<void> {
  await node1.netns.ip([`link set eth0 mtu ${String(mtu)}`]);
  await lab.router.ip([`link set leg3 mtu ${String(mtu)}`]);
}

t.test('the node itself reports a smaller MTU of its outgoing route (S-84)', async (t) => {
  const { text, nodePort } = fresh('narrow');
  setup.put(text, endpointsAt(nodes, { two: 'ready' }));
  await cableMtu(1400);
  for (const client of ['one', 'host1'] as const) {
    for (const family of families) {
      const target = { host: node1[family], port: nodePort };
      await setup.sees(t, client, target, 'two node1', 'it is there');
      const whole = await machines[client].actor.call('transfer', { ...target, bytes: 100_000 });
      t.equal(whole.received, whole.sent, `${client}, IP${family}`);
    }
  }
  t.ok(((await verdicts(setup.agents[0]))['REFUSED_TOO_BIG'] ?? 0) > 0, 'by our own answer');
  await cableMtu(1500);
});

t.test('datagrams larger than the path MTU are fragmented where that is allowed (S-84, S-85)', async (t) => {
  const port = 7_401;
  const put = (name: string, backend: MachineName) => {
    const service = fresh(name);
    const ports = protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port }));
    const endpoints = endpointsAt(nodes, { [backend]: 'ready' });
    setup.folder.put(`${name}.yaml`, [
      serviceDocument(service.text),
      ...sliceDocuments({ service: name, endpoints, ports }),
    ]);
    return service;
  };
  const [away, home] = [put('larger-away', 'two'), put('larger-home', 'one')];
  for (const { text } of [away, home]) await setup.settled(text.name, (body) => body !== undefined);
  // UDP sockets that are made from now on send without DF.
  const senders = [one, pod1, out, machines.host1, machines.two];
  for (const { netns } of senders) await netns.run(['sysctl', '-qw', 'net.ipv4.ip_no_pmtu_disc=1']);
  for (const { actor, name } of [one, machines.two]) await actor.call('serveUdp', { port, name });
  // What earlier tests have taught them would have them fragment by themselves.
  for (const { netns } of senders) await netns.run(['ip', 'route', 'flush', 'cache']);
  await cableMtu(1400);
  const forwarded = async (): Promise<number> => (await verdicts(setup.agents[0]))['FRAGMENTED'] ?? 0;
  for (const [client, { nodePort }] of [
    ['one', away],
    ['pod1', away],
    ['host1', away],
    ['out', home],
  ] as const) {
    const { actor } = machines[client];
    const before = await forwarded();
    // The kernel keeps no MTU of a way to its own IPv6 addresses: over that family only TCP of this host finds its
    // size.
    for (const family of client === 'host1' ? (['v4'] as const) : families) {
      const { id } = await actor.call('openUdp', { host: node1[family], port: nodePort });
      for (const size of [1_460, 100, 1_372, 1_373, 1_472, 100, 5_000]) {
        const sent = String(size).padEnd(size, '.');
        // IPv6 is never fragmented on the way: the sender is told, and the kernel told it before the second try.
        let payload: string | undefined;
        for (let tries = family === 'v4' ? 1 : 3; payload !== sent && tries > 0; tries--)
          payload = await actor.call('askUdp', { id, text: sent }).then(
            (reply) => reply.payload,
            () => undefined,
          );
        t.ok(payload === sent, `${String(size)} bytes, ${client} over IP${family}`);
      }
      await actor.call('shutUdp', { id });
    }
    if (client === 'pod1' || client === 'out')
      t.ok((await forwarded()) > before, `${client}: some went by the stack`);
  }
  await cableMtu(1500);
  for (const { netns } of senders) await netns.run(['sysctl', '-qw', 'net.ipv4.ip_no_pmtu_disc=0']);
});

t.test('traceroute shows the node on the way to a backend and back (S-84)', async (t) => {
  const [away, home] = [fresh('trace-away'), fresh('trace-home')];
  setup.put(away.text, endpointsAt(nodes, { two: 'ready' }));
  setup.put(home.text, endpointsAt(nodes, { one: 'ready' }));
  const script = join(import.meta.dirname, '../support/lab/traceprobe.py');
  const near = { v4: '10.244.1.1', v6: 'fd00:244:1::1' };
  for (const family of families) {
    const exceeded = family === 'v4' ? '11 0' : '3 0';
    const host = node1[family];
    for (const [client, service, hops, node] of [
      ['one', away, 1, near[family]],
      ['out', away, 2, host],
      ['out', home, 2, host],
    ] as const) {
      await setup.sees(
        t,
        client,
        { host, port: service.nodePort },
        service === away ? 'two node1' : 'one node1',
        'it is there',
      );
      const args = ['python3', script, host, String(service.nodePort), String(hops)];
      const { stdout } = await machines[client].netns.run(args);
      t.equal(stdout.trim(), `${node} ${exceeded}`, `${client} over IP${family}`);
    }
    // The answers of a backend whose packets do not get far: it is told.
    const [setting, counter] =
      family === 'v4'
        ? ['net.ipv4.ip_default_ttl', 'IcmpInTimeExcds']
        : ['net.ipv6.conf.all.hop_limit', 'Icmp6InTimeExcds'];
    const before = (await one.netns.run(['cat', `/proc/sys/${setting.replaceAll('.', '/')}`])).stdout.trim();
    const settings = family === 'v4' ? [setting] : [setting, 'net.ipv6.conf.eth0.hop_limit'];
    for (const name of settings) await one.netns.run(['sysctl', '-qw', `${name}=1`]);
    const { id } = await out.actor.call('openUdp', { host, port: home.nodePort });
    await out.actor.call('askUdp', { id, text: '?', ms: 500 }).catch(() => undefined);
    for (const name of settings) await one.netns.run(['sysctl', '-qw', `${name}=${before}`]);
    await out.actor.call('shutUdp', { id });
    const { stdout } = await one.netns.run(['nstat', '-asz', counter]);
    t.match(stdout, new RegExp(`${counter} +[1-9]`), `the backend hears of its answer over IP${family}`);
  }
  t.ok(((await verdicts(setup.agents[0]))['REFUSED_TTL'] ?? 0) >= 8, 'by our own answers');
});

t.test('an error about a masqueraded datagram reaches the client (S-84)', async (t) => {
  const { text, nodePort } = fresh('closed');
  const endpoints = endpointsAt(nodes, { far: 'ready' });
  const ports = protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: 9 }));
  setup.folder.put('closed.yaml', [
    serviceDocument(text),
    ...sliceDocuments({ service: text.name, endpoints, ports }),
  ]);
  await setup.settled(text.name, (body) => body !== undefined);
  const before = (await verdicts(setup.agents[0]))['ICMP_REPLY'] ?? 0;
  for (const family of families)
    for (const protocol of protocols)
      for (const client of ['out', 'pod1', 'host1'] as const)
        await setup.sees(
          t,
          client,
          { host: node1[family], port: nodePort, protocol },
          'refused',
          'a closed port',
        );
  const { ICMP_REPLY: after = 0 } = await verdicts(setup.agents[0]);
  t.ok(after >= before + 4, `${String(after - before)} errors translated`);
});

t.test('the first packet is not lost when the next hop is not resolved yet (S-52, S-53)', async (t) => {
  const { text, addresses, nodePort } = fresh('first');
  setup.put(text, endpointsAt(nodes, { one: 'ready' }));
  await setup.settled(text.name, (body) => body !== undefined);
  for (const family of families) {
    for (const client of ['host1', 'pod1', 'out'] as const) {
      const { actor } = machines[client];
      const cluster = { host: addresses.cluster[family], port: 80 };
      for (const where of [cluster, { host: node1[family], port: nodePort }]) {
        const { id } = await actor.call('openUdp', where);
        await node1.netns.ip([`neigh flush to ${one[family]}`]);
        const { server } = await actor.call('askUdp', { id, text: '?', ms: 2_000 });
        t.equal(server, 'one', `${client} to ${where.host}`);
        await actor.call('shutUdp', { id });
      }
    }
  }
});

t.test('datagrams larger than a packet: fragments in both directions (S-85)', async (t) => {
  const { text, addresses, nodePort } = fresh('large');
  setup.put(text, endpointsAt(nodes, { one: 'ready', two: 'ready' }));
  await setup.settled(text.name, (body) => body !== undefined);
  for (const family of families) {
    const cluster = { host: addresses.cluster[family], port: 80 };
    const node = { host: node1[family], port: nodePort };
    for (const [client, where] of [
      ['pod1', cluster],
      ['pod2', cluster],
      ['host1', cluster],
      ['out', node],
      ['pod1', node],
      ['host2', node],
    ] as const) {
      const { actor } = machines[client];
      const { id } = await actor.call('openUdp', where);
      for (const size of [2_000, 8_000, 60_000]) {
        const sent = String(size).padEnd(size, '.');
        const { payload } = await actor.call('askUdp', { id, text: sent });
        t.ok(payload === sent, `${String(size)} bytes, ${client} to ${where.host}`);
      }
      await actor.call('shutUdp', { id });
    }
  }
});

t.test('a second network card: NodePorts answer there, and replies leave by it (S-73, S-113)', async (t) => {
  const side = await Netns.create('side');
  await veth({ netns: node1.netns, device: 'eth1' }, { netns: side, device: 'eth0' });
  await node1.netns.ip([
    'link set eth1 up',
    'addr add 172.21.1.1/24 dev eth1',
    'addr add fd00:21:1::1/64 dev eth1 nodad',
  ]);
  await side.ip([
    'link set eth0 up',
    'addr add 172.21.1.2/24 dev eth0',
    'addr add fd00:21:1::2/64 dev eth0 nodad',
    'route add default via 172.21.1.1',
    'route add default via fd00:21:1::1',
  ]);
  const actor = await Actor.start(side);
  t.teardown(() => actor.close());
  const services = [fresh('second-cluster', 'Cluster'), fresh('second-local', 'Local')];
  for (const { text } of services) setup.put(text, endpointsAt(nodes, { one: 'ready' }));
  for (const { text } of services) await setup.settled(text.name, (body) => body !== undefined);
  const sources = { v4: ['10.244.1.1', '172.21.1.2'], v6: ['fd00:244:1::1', 'fd00:21:1::2'] };
  const addresses = { v4: ['172.21.1.1', node1.v4], v6: ['fd00:21:1::1', node1.v6] };
  for (const family of families) {
    for (const host of addresses[family]) {
      for (const [i, { nodePort }] of services.entries()) {
        for (const protocol of protocols) {
          const question = {
            host,
            port: nodePort,
            protocol,
            servers: ['one'],
            least: 1,
            most: 1,
            ms: 1_000,
          };
          const expected = [`one ${sources[family][i] ?? ''}`];
          let seen: string[] = [];
          for (let tries = 0; tries < 10 && seen[0] !== expected[0]; tries++)
            seen = Object.keys((await actor.call('probe', { questions: [question] }))[0] ?? {});
          t.strictSame(seen, expected, `${host} ${protocol} ${String(nodePort)}`);
        }
      }
    }
  }
});

t.test('no packet was dropped in all this', async (t) => {
  for (const agent of setup.agents) t.strictSame(dropped(await verdicts(agent)), {});
  for (const { netns } of [node1, node2, one, out]) {
    const { stdout } = await netns.run(['nstat', '-asz', 'TcpExtIPReversePathFilter']);
    t.match(stdout, /TcpExtIPReversePathFilter +0 /);
  }
});
