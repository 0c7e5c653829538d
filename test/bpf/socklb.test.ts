// Sockets of every kind that connect to a Service: which are translated to a backend, and what their programs see.
import '../support/run/alone.ts';
import t from 'tap';
import { bothFamilies, end } from '../support/packet/addresses.ts';
import { knowsHost, refuses } from '../support/kernel/sockrun.ts';
import {
  backendsOf,
  buildLoopback,
  dial,
  mapped,
  Servers,
  socketNode,
  spec,
} from '../support/kernel/socknode.ts';
import { type OpenOptions, type Sock, type SocketKind } from '../support/kernel/syscalls.ts';

buildLoopback();
const servers = await Servers.start(t);
const { bench, caller } = await socketNode(t);
const refusal = refuses ? 'REFUSED_SOCKET ECONNREFUSED' : 'LEFT_TO_PACKETS ENETUNREACH';

/** A client that is done for: how the call ended alone. */
async function once(socket: Sock, call: (socket: Sock) => Promise<string>): Promise<string> {
  const [outcome, verdicts] = await bench.during(() => call(socket));
  return `${verdicts} ${outcome}`;
}

for (const who of bothFamilies) {
  const { family } = who;
  const open = (kind: SocketKind, options?: OpenOptions): Promise<Sock> => caller.open(family, kind, options);
  const backends = backendsOf(who).map((address) => end(address, 8080));

  t.test(
    `connect() reaches a backend, and getpeername() shows the Service (S-52), IPv${family}`,
    async (test) => {
      for (const protocol of ['tcp', 'udp'] as const) {
        const service = spec(who, 'cluster', { protocol });
        const { id } = bench.addService(service);
        const socket = await open(protocol);
        test.equal(
          await once(socket, (of) => of.connect(who.vip, service.port)),
          'SOCKET_NEW done',
          protocol,
        );
        const [row] = bench.pointed(socket.cookie);
        test.match(row, { frontend: end(who.vip, service.port), service: id });
        test.ok(backends.includes(row?.backend ?? ''), 'a backend');
        if (knowsHost) test.equal(bench.row(socket.cookie)?.netns, bench.config.netns);
        test.equal(await socket.peer(), end(who.vip, service.port));
        if (protocol === 'tcp') {
          test.equal(row?.flags, 'CONNECTED ESTABLISHED');
          test.equal(row?.client, await socket.own(), 'the address that the kernel has chosen');
          const accepted = await servers.accept(row?.backend ?? '', await socket.own());
          test.equal(
            await accepted.own(),
            row?.backend,
            'the server is who it says, and sees the client itself',
          );
          await accepted.close();
        } else {
          test.equal(row?.flags, 'CONNECTED');
          test.equal(await socket.send('hello'), 'done');
          test.equal(await servers.echo(row?.backend ?? ''), await socket.own());
          test.equal(await socket.receive(), `hello from ${end(who.vip, service.port)}`);
        }
        await socket.close();
        test.same(bench.pointed(socket.cookie), [], 'the row goes with its socket');
      }
    },
  );

  t.test(`non-blocking connect() and TCP Fast Open, IPv${family}`, async (test) => {
    const service = spec(who);
    bench.addService(service);
    const waiting = await open('tcp', { nonblocking: true });
    test.equal(await once(waiting, (of) => of.connect(who.vip, service.port)), 'SOCKET_NEW EINPROGRESS');
    test.equal(await waiting.error(), 'done');
    test.equal(await waiting.peer(), end(who.vip, service.port));
    test.equal(
      await once(waiting, (of) => of.connect(who.vip, service.port)),
      ' done',
      'asked again, it is there',
    );
    await waiting.close();

    const fast = await open('tcp');
    const sent = await once(fast, (of) =>
      of.sendTo(who.vip, service.port, { text: 'early', fastopen: true }),
    );
    test.equal(sent, 'SOCKET_NEW done');
    const accepted = await servers.accept(bench.pointed(fast.cookie)[0]?.backend ?? '', await fast.own());
    test.equal(await accepted.drain(5), 5);
    test.equal(await fast.peer(), end(who.vip, service.port));
    for (const socket of [accepted, fast]) await socket.close();
  });

  t.test(`a socket connects again (S-89), IPv${family}`, async (test) => {
    // One backend: an IPv6 socket receives from its last peer alone, even after it was disconnected.
    const ones = [{ address: who.one, port: 8080 }];
    const make = () => spec(who, 'cluster', { protocol: 'udp', backends: ones });
    const [first, second] = [make(), make()];
    const ids = [first, second].map((service) => bench.addService(service).id);
    const open_ = (): bigint[] => ids.map((id) => bench.stats('slb_svc_stats', id).sockets);
    const socket = await open('udp');
    await socket.connect(who.vip, first.port);
    test.same(open_(), [1n, 0n]);
    test.equal(await once(socket, (of) => of.connect(who.vip, second.port)), 'SOCKET_NEW done');
    test.equal(await socket.peer(), end(who.vip, second.port), 'to another service');
    test.same(open_(), [0n, 1n]);

    const direct = backends[0]!;
    test.equal(await once(socket, (of) => of.connect(who.one, 8080)), 'NOT_OURS done');
    test.equal(await socket.peer(), direct, 'to a backend itself, by its own name');
    test.same(open_(), [0n, 0n]);
    await socket.send('direct');
    await servers.echo(direct);
    test.equal(await socket.receive(), `direct from ${direct}`);

    test.equal(await socket.disconnect(), 'done');
    test.equal(
      await once(socket, (of) => of.sendTo(who.vip, first.port)),
      'SOCKET_NEW done',
      'and without a peer: one translation a datagram',
    );
    test.same(open_(), [1n, 0n]);
    await servers.echo(direct);
    test.equal(await socket.receive(), `x from ${end(who.vip, first.port)}`);
    await socket.close();
    test.same(open_(), [0n, 0n]);
  });

  t.test(`a socket connects again after its backend refused, IPv${family}`, async (test) => {
    const service = spec(who, 'cluster', { backends: [{ address: who.one, port: 9 }] });
    const made = bench.addService(service);
    const socket = await open('tcp');
    test.equal(await once(socket, (of) => of.connect(who.vip, service.port)), 'SOCKET_NEW ECONNREFUSED');
    test.equal(bench.pointed(socket.cookie)[0]?.flags, 'CONNECTED', 'never established');
    bench.replaceBackends(made, { ...service, backends: [{ address: who.two, port: 8080 }] });
    test.equal(await once(socket, (of) => of.connect(who.vip, service.port)), 'SOCKET_NEW done');
    test.match(bench.pointed(socket.cookie), [
      { backend: end(who.two, 8080), flags: 'CONNECTED ESTABLISHED' },
    ]);
    test.equal(bench.stats('slb_svc_stats', made.id).sockets, 1n);
    test.equal(bench.stats('slb_svc_stats', made.id).connections, 2n);
    await socket.close();
    test.equal(bench.stats('slb_svc_stats', made.id).sockets, 0n);
  });

  t.test(
    `without endpoints connect() of TCP fails at once, UDP is left to the packet path (S-43), IPv${family}`,
    async (test) => {
      const service = spec(who, 'cluster', { backends: [] });
      const { id } = bench.addService(service);
      test.equal((await dial(bench, await open('tcp'), who.vip, service.port)).fate, refusal);
      test.equal(
        bench.stats('slb_svc_stats', id).refused,
        refuses ? 1n : 0n,
        'else the packet path counts it',
      );
      const fast = await open('tcp');
      test.equal(await once(fast, (of) => of.sendTo(who.vip, service.port, { fastopen: true })), refusal);
      await fast.close();
      const waiting = await open('tcp', { nonblocking: true });
      test.equal(await once(waiting, (of) => of.connect(who.vip, service.port)), refusal);
      await waiting.close();
      const datagrams = { ...service, protocol: 'udp' } as const;
      bench.addService(datagrams);
      test.equal(
        (await dial(bench, await open('udp'), who.vip, service.port)).fate,
        'LEFT_TO_PACKETS ENETUNREACH',
      );
    },
  );

  t.test(`Services that only packets can decide are left to the packet path, IPv${family}`, async (test) => {
    const service = spec(who);
    bench.addService(service);
    const left = 'LEFT_TO_PACKETS ENETUNREACH';
    const to = async (options: OpenOptions): Promise<string> =>
      (await dial(bench, await open('tcp', options), who.vip, service.port)).fate;
    test.match(await to({ device: 'lo' }), /^LEFT_TO_PACKETS /, 'bound to a device');
    test.match(
      await to({ bind: [who.loopback, 0] }),
      /^LEFT_TO_PACKETS /,
      'a loopback source would come along',
    );
    test.equal(await to({ bind: [who.client, 0] }), `SOCKET_NEW done ${end(who.vip, service.port)}`);
    const steered = spec(who, 'cluster', { flags: 32 });
    bench.addService(steered);
    test.equal(
      (await dial(bench, await open('tcp'), who.vip, steered.port)).fate,
      left,
      'a service that wants its packets',
    );
  });
}

const [four, six] = bothFamilies as [(typeof bothFamilies)[0], (typeof bothFamilies)[0]];

t.test('IPv4 addresses at IPv6 sockets', async (test) => {
  for (const protocol of ['tcp', 'udp'] as const) {
    const service = spec(four, 'cluster', { protocol });
    bench.addService(service);
    const name = end(mapped(four.vip), service.port);
    const socket = await caller.open(6, protocol);
    test.equal(
      await once(socket, (of) => of.connect(mapped(four.vip), service.port)),
      'SOCKET_NEW done',
      protocol,
    );
    test.equal(await socket.peer(), name);
    const [row] = bench.pointed(socket.cookie);
    test.equal(row?.frontend, end(four.vip, service.port));
    if (protocol === 'tcp') test.equal(mapped(row?.client ?? ''), (await socket.own()).replace(/[[\]]/g, ''));
    else {
      await socket.send();
      await servers.echo(row?.backend ?? '');
      test.equal(await socket.receive(), `x from ${name}`);
    }
    await socket.close();

    const plain = await caller.open(6, 'udp');
    if (protocol === 'udp') {
      test.equal(
        await once(plain, (of) => of.connect(four.vip, service.port)),
        'SOCKET_NEW done',
        'as struct sockaddr_in',
      );
      test.equal(await plain.peer(), name);
    }
    await plain.close();
  }
});

t.test('no endpoint, for IPv4 addresses at IPv6 sockets (S-43)', async (test) => {
  const service = spec(four, 'cluster', { backends: [] });
  bench.addService(service);
  test.equal((await dial(bench, await caller.open(6, 'tcp'), mapped(four.vip), service.port)).fate, refusal);
});

t.test('sockets of other protocols are left alone', async (test) => {
  const [service4, service6] = [spec(four), spec(six)];
  for (const service of [service4, service6]) bench.addService(service);
  const kinds: readonly (readonly [SocketKind, 4 | 6])[] = [
    ['udplite', 4],
    ['udplite', 6],
    ['ping', 4],
    ['ping6', 6],
    ['raw', 4],
    ['raw', 6],
  ];
  for (const [kind, family] of kinds) {
    if (!(await caller.has(family, kind))) {
      test.pass(`this kernel has no ${kind} sockets`, { skip: true });
      continue;
    }
    const { address, port } = family === 4 ? service4 : service6;
    const { fate } = await dial(bench, await caller.open(family, kind), address, port);
    // Not every kernel asks about all of them.
    test.match(fate, /^(OTHER_PROTOCOL)? ENETUNREACH$/, `${kind}, IPv${family}`);
  }
});

t.test('sockets of the kernel itself are left to the packet path', async (test) => {
  if (!(await caller.has(4, 'mptcp'))) {
    test.pass('this kernel has no MPTCP', { skip: true });
    return;
  }
  for (const who of bothFamilies) {
    const service = spec(who);
    bench.addService(service);
    const { fate } = await dial(bench, await caller.open(who.family, 'mptcp'), who.vip, service.port);
    test.equal(fate, 'LEFT_TO_PACKETS ENETUNREACH', `a path of MPTCP, IPv${who.family}`);
  }
});

t.test('a full table leaves sockets to the packet path', async (test) => {
  const full = await socketNode(test, { sizes: { slb_sockets: 1 } });
  for (const who of bothFamilies) {
    const service = spec(who);
    const { id } = full.bench.addService(service);
    const first = await full.caller.open(who.family, 'tcp');
    test.equal(await first.connect(who.vip, service.port), 'done');
    const second = await full.caller.open(who.family, 'tcp');
    const { fate } = await dial(full.bench, second, who.vip, service.port);
    test.equal(fate, 'LEFT_TO_PACKETS ENETUNREACH');
    test.equal(full.bench.stats('slb_svc_stats', id).sockets, 1n, 'which is not counted as open');
    await first.close();
    test.equal(full.bench.stats('slb_svc_stats', id).sockets, 0n);
  }
});
