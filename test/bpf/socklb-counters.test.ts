// The counters of sockets, exact however a socket ends, and the spread of connections over backends.
import '../support/run/alone.ts';
import t from 'tap';
import * as abi from '../../src/abi/layout.gen.ts';
import { additions, codeOf, newAtomics } from '../support/kernel/bpfcode.ts';
import { objectFile } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, type Addresses } from '../support/packet/addresses.ts';
import type { Service } from '../support/kernel/rows.ts';
import { backendsOf, buildLoopback, Servers, socketNode, spec } from '../support/kernel/socknode.ts';
import { Caller, type Sock } from '../support/kernel/syscalls.ts';

buildLoopback();
const servers = await Servers.start(t);
const { bench, caller, enter } = await socketNode(t);

/** Open sockets of the service, of its backends together, and rows. */
function openOf({ id, backendIds }: Service): readonly bigint[] {
  const backends = backendIds.map((backend) => bench.stats('slb_be_stats', backend).sockets);
  return [bench.stats('slb_svc_stats', id).sockets, backends.reduce((sum, count) => sum + count, 0n)];
}

/** As many of each protocol, connected to two services that it makes. */
async function connected(
  who: Addresses,
  by: Caller,
  each: number,
): Promise<{ sockets: Sock[]; made: Service[] }> {
  const sockets: Sock[] = [];
  const made: Service[] = [];
  for (const protocol of ['tcp', 'udp'] as const) {
    const service = spec(who, 'cluster', { protocol });
    made.push(bench.addService(service));
    for (let i = 0; i < each; i++) {
      const socket = await by.open(who.family, protocol);
      await socket.connect(service.address, service.port);
      sockets.push(socket);
    }
  }
  return { sockets, made };
}

t.test('atomic instructions are those that kernel 5.10 has, in every program', (test) => {
  for (const name of ['tc', 'xdp', 'sock', 'tc-conntrack', 'xdp-conntrack'] as const)
    for (const [section, code] of codeOf(objectFile(name)))
      test.equal(newAtomics(code), 0, `${name} ${section}`);
  test.end();
});

t.test('hooks of system calls count with one atomic instruction: they may preempt each other', (test) => {
  const programs = codeOf(objectFile('sock'));
  for (const [section, code] of programs) test.equal(additions(code).torn, 0, section);
  for (const section of ['cgroup/connect4', 'cgroup/sendmsg6', 'cgroup/sock_release'])
    test.ok(additions(programs.get(section) ?? []).atomic > 0, `${section} does count`);
  const packets = [...codeOf(objectFile('tc')).values()].map((code) => additions(code).torn);
  test.ok(
    Math.max(...packets) > 0,
    'those of packets cannot be: there a load and a store are seen for what they are',
  );
  test.end();
});

t.test('sockets opened and closed on every CPU at once: the count of open ones ends at 0', async (test) => {
  const [processes, rounds] = [4, 10_000];
  const asked = bothFamilies.map((who) => spec(who, 'cluster', { protocol: 'udp' }));
  const made = asked.map((service) => bench.addService(service));
  const callers = await Promise.all(Array.from({ length: processes }, () => enter(Caller.start())));
  // Two a family, who count for one service and its three backends.
  await Promise.all(callers.map((by, i) => by.churn('udp', rounds, asked[i % 2]!)));
  for (const service of made) {
    test.same(openOf(service), [0n, 0n]);
    const counts = service.backendIds.map((id) => bench.stats('slb_be_stats', id).connections);
    const all = BigInt((processes / 2) * rounds);
    test.equal(bench.stats('slb_svc_stats', service.id).connections, all, 'connections of the service');
    test.equal(
      counts.reduce((sum, count) => sum + count, 0n),
      all,
      'and of its backends',
    );
  }
  test.equal(bench.count(), 0, 'no rows are left');
});

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;

  t.test(
    `each socket counts once, from connect() to the close of its last descriptor, ${family}`,
    async (test) => {
      const { sockets, made } = await connected(who, caller, 5);
      const is = (count: bigint, what: string): void => {
        for (const service of made) test.same(openOf(service), [count, count], what);
      };
      is(5n, 'open');
      for (const { id } of made) test.equal(bench.stats('slb_svc_stats', id).connections, 5n);
      const copies = [await sockets[0]!.dup(), await sockets[5]!.dup()];
      for (const socket of [sockets[0]!, sockets[5]!]) await socket.close();
      is(5n, 'a copy of the descriptor is open still');
      for (const copy of copies) await copy.close();
      is(4n, 'closed');
      const endChild = await caller.fork();
      for (const [i, socket] of sockets.entries()) if (i % 5 !== 0) await socket.close();
      is(4n, 'another process has them');
      await endChild();
      is(0n, 'and has ended');
      test.equal(bench.count(), 0);
      for (const { id } of made) test.equal(bench.stats('slb_svc_stats', id).connections, 5n);
    },
  );

  t.test(`the sockets of a killed process are counted as closed, ${family}`, async (test) => {
    const victim = await enter(Caller.start());
    const { made } = await connected(who, victim, 4);
    const several = await victim.open(who.family, 'udp');
    const asked = [0, 1].map((i) =>
      spec(who, 'cluster', { protocol: 'udp', backends: [{ address: backendsOf(who)[i]!, port: 8080 }] }),
    );
    for (const service of asked) {
      made.push(bench.addService(service));
      await several.sendTo(service.address, service.port);
    }
    test.same(
      made.map((service) => openOf(service)[0]),
      [4n, 4n, 1n, 1n],
    );
    await victim.kill();
    test.same(
      made.map(openOf),
      made.map(() => [0n, 0n]),
    );
    test.equal(bench.count(), 0);
    for (const address of backendsOf(who).slice(0, 2)) await servers.echo(end(address, 8080));
  });

  t.test(`a reused slot is not counted down by an old socket, ${family}`, async (test) => {
    const { sockets, made } = await connected(who, caller, 3);
    const next = 1 << abi.slbLimits.SLOT_BITS; // a generation later
    for (const { id, backendIds } of made) {
      bench.setRow(id + next);
      for (const backend of backendIds)
        bench.setLists(backend + next, id + next, { address: who.far, port: 9 }, 'tcp');
    }
    const before = made.map(openOf);
    for (const socket of sockets) await socket.close();
    test.same(made.map(openOf), before);
    test.same(
      before,
      made.map(() => [3n, 3n]),
    );
  });

  t.test(`the payload of TCP is counted when its socket is closed, ${family}`, async (test) => {
    for (const closedBy of ['client', 'server'] as const) {
      const service = spec(who, 'cluster', { backends: [{ address: who.one, port: 8080 }] });
      const { id, backendIds } = bench.addService(service);
      const socket = await caller.open(who.family, 'tcp');
      await socket.connect(service.address, service.port);
      const accepted = await servers.accept(end(who.one, 8080), await socket.own());
      await socket.send('a'.repeat(3000));
      await accepted.drain(3000);
      await accepted.send('b'.repeat(5000));
      await socket.drain(5000);
      if (closedBy === 'server') {
        await accepted.close();
        await socket.receive(); // end of stream
      }
      test.match(bench.stats('slb_svc_stats', id), { bytesIn: 0n, bytesOut: 0n }, 'not before');
      await socket.close();
      const counted = { bytesIn: 3000n, bytesOut: 5000n, packetsIn: 0n, packetsOut: 0n };
      test.match(bench.stats('slb_svc_stats', id), counted, closedBy);
      test.match(bench.stats('slb_be_stats', backendIds[0]!), counted);
      if (closedBy === 'client') await accepted.close();
    }
  });

  t.test(`connections are spread over the backends (S-83), ${family}`, async (test) => {
    for (const bind of [undefined, [who.client, 0]] as const) {
      const service = spec(who, 'cluster', { protocol: 'udp' });
      const { backendIds } = bench.addService(service);
      await caller.churn('udp', 600, service, bind === undefined ? {} : { bind });
      const shares = backendIds.map((id) => Number(bench.stats('slb_be_stats', id).connections));
      test.equal(
        shares.reduce((sum, share) => sum + share, 0),
        600,
      );
      // A fair share is 200, give or take 12; half of that is no accident.
      for (const share of shares)
        test.ok(share > 100, `${shares.join(', ')}${bind === undefined ? '' : ', bound'}`);
    }
  });
}
