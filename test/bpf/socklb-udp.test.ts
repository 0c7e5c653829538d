// UDP sockets that name a peer with each datagram: each service keeps its backend, and answers come from the service.
import '../support/run/alone.ts';
import t from 'tap';
import * as abi from '../../src/abi/layout.gen.ts';
import type { ServiceSpec } from '../support/kernel/rows.ts';
import { bothFamilies, end } from '../support/packet/addresses.ts';
import { buildLoopback, mapped, Servers, socketNode, spec } from '../support/kernel/socknode.ts';
import type { Sock } from '../support/kernel/syscalls.ts';

buildLoopback();
const servers = await Servers.start(t);
const { bench, caller } = await socketNode(t);
const left = 'LEFT_TO_PACKETS ENETUNREACH';

/** What was decided, and what sendto() gave. */
async function say(socket: Sock, address: string, port: number): Promise<string> {
  const [outcome, verdicts] = await bench.during(() => socket.sendTo(address, port));
  return `${verdicts} ${outcome}`;
}

/** The row for this service's name. */
const rowOf = (socket: Sock, { address, port }: Pick<ServiceSpec, 'address' | 'port'>) =>
  bench.pointed(socket.cookie).find(({ frontend }) => frontend === end(address, port));

for (const who of bothFamilies) {
  const { family } = who;
  const udp = (more: Partial<ServiceSpec> = {}): ServiceSpec =>
    spec(who, 'cluster', { protocol: 'udp', ...more });
  const sole = (address: string, port = 8080) => ({ backends: [{ address, port }] });
  const open = (bind?: string): Promise<Sock> =>
    caller.open(family, 'udp', bind === undefined ? {} : { bind: [bind, 0] });
  const told = async (socket: Sock, service: ServiceSpec): Promise<void> => {
    await servers.echo(rowOf(socket, service)?.backend ?? '');
  };

  t.test(
    `an unconnected socket keeps its backend, and sees answers from the Service (S-81), IPv${family}`,
    async (test) => {
      const service = udp();
      const { id } = bench.addService(service);
      const socket = await open();
      test.equal(await say(socket, who.vip, service.port), 'SOCKET_NEW done');
      const row = rowOf(socket, service);
      test.match(row, { flags: '', service: id });
      for (let i = 0; i < 4; i++) {
        await told(socket, service);
        test.equal(await socket.receive(), `x from ${end(who.vip, service.port)}`);
        test.equal(await say(socket, who.vip, service.port), 'SOCKET_KNOWN done');
      }
      test.same(
        bench.pointed(socket.cookie).map(({ backend }) => backend),
        [row?.backend],
        'one row',
      );
      test.match(bench.stats('slb_svc_stats', id), { connections: 1n, sockets: 1n });
      await told(socket, service);
      await socket.close();
      test.equal(bench.stats('slb_svc_stats', id).sockets, 0n);
    },
  );

  t.test(`after its backend is gone the next datagram goes to another (S-90), IPv${family}`, async (test) => {
    const service = udp(sole(who.one));
    const made = bench.addService(service);
    const socket = await open();
    await say(socket, who.vip, service.port);
    const emptied = bench.replaceBackends(made, { ...service, backends: [] });
    test.equal(await say(socket, who.vip, service.port), 'SOCKET_KNOWN done', 'there is no other');
    test.equal(rowOf(socket, service)?.backend, end(who.one, 8080));
    bench.replaceBackends(emptied, { ...service, ...sole(who.two) });
    test.equal(await say(socket, who.vip, service.port), 'SOCKET_NEW done');
    test.equal(rowOf(socket, service)?.backend, end(who.two, 8080));
    for (let i = 0; i < 2; i++) await servers.echo(end(who.one, 8080));
    test.match(await socket.receive(), /^x from /, 'what the first one answers late is still heard');
    test.equal(bench.stats('slb_svc_stats', made.id).sockets, 1n);
    await told(socket, service);
    await socket.close();
    test.equal(bench.stats('slb_svc_stats', made.id).sockets, 0n);
  });

  t.test(`after its Service is gone nothing is translated, IPv${family}`, async (test) => {
    const service = udp(sole(who.one));
    const made = bench.addService(service);
    const socket = await open();
    await say(socket, who.vip, service.port);
    bench.replaceBackends(made, { ...service, backends: [] });
    bench.removeService(made.id);
    test.equal(await say(socket, who.vip, service.port), left);
    await told(socket, service);
    test.equal(await socket.receive(), `x from ${end(who.vip, service.port)}`, 'the last answer is');
    await socket.close();
  });

  t.test(`after the idle timeout a backend is chosen anew, IPv${family}`, async (test) => {
    const service = udp(sole(who.one));
    const made = bench.addService(service);
    const socket = await open(who.client);
    await say(socket, who.vip, service.port);
    bench.replaceBackends(made, { ...service, ...sole(who.two) });
    bench.setLists(made.backendIds[0]!, made.id, { address: who.one, port: 8080, lists: 'none' }, 'udp');
    bench.age(socket.cookie, 0, bench.config.udpIdleSec - 5);
    test.equal(await say(socket, who.vip, service.port), 'SOCKET_KNOWN done', 'one that is ending serves on');
    test.equal(rowOf(socket, service)?.client, await socket.own(), 'by now its own address is known');
    bench.age(socket.cookie, 0, bench.config.udpIdleSec + 5);
    test.equal(await say(socket, who.vip, service.port), 'SOCKET_NEW done');
    test.equal(rowOf(socket, service)?.backend, end(who.two, 8080));
    test.match(bench.stats('slb_svc_stats', made.id), { connections: 2n, sockets: 1n });
    for (const [address, times] of [
      [who.one, 2],
      [who.two, 1],
    ] as const)
      for (let i = 0; i < times; i++) await servers.echo(end(address, 8080));
    await socket.close();
  });

  t.test(`one socket and several Services, IPv${family}`, async (test) => {
    const backends = [who.one, who.two, who.far, who.one, who.two];
    const services = backends.map((address, i) => udp(sole(address, i < 3 ? 8080 : 8081)));
    for (const address of [who.one, who.two]) await servers.serve(who, address, 8081);
    const ids = services.map((service) => bench.addService(service).id);
    const socket = await open();
    for (const [i, { port }] of services.entries())
      test.equal(await say(socket, who.vip, port), i < 4 ? 'SOCKET_NEW done' : left, `service ${i + 1}`);
    for (const service of services.slice(0, 4)) {
      await told(socket, service);
      test.equal(
        await socket.receive(),
        `x from ${end(who.vip, service.port)}`,
        'each answers by its own name',
      );
      test.equal(await say(socket, who.vip, service.port), 'SOCKET_KNOWN done');
      await told(socket, service);
      await socket.receive();
    }
    test.same(
      ids.map((id) => bench.stats('slb_svc_stats', id).sockets),
      [1n, 1n, 1n, 1n, 0n],
    );
    await socket.close();
    test.same(
      ids.map((id) => bench.stats('slb_svc_stats', id).sockets),
      [0n, 0n, 0n, 0n, 0n],
    );
    test.equal(bench.count(), 0);
  });

  t.test(
    `two Services with one backend at one socket: the second is left to the packet path, IPv${family}`,
    async (test) => {
      const [one, other] = [udp(sole(who.one)), udp(sole(who.one))];
      const ids = [one, other].map((service) => bench.addService(service).id);
      const socket = await open();
      test.equal(await say(socket, who.vip, one.port), 'SOCKET_NEW done');
      test.equal(await say(socket, who.vip, other.port), left);
      for (const { port } of [one, other, one]) test.equal(await say(socket, who.vip, port), left);
      test.equal(rowOf(socket, one)?.flags, 'RETIRED');
      test.same(
        ids.map((id) => bench.stats('slb_svc_stats', id).sockets),
        [0n, 0n],
        'neither is counted any more',
      );
      await told(socket, one);
      test.equal(
        await socket.receive(),
        `x from ${end(who.vip, one.port)}`,
        'what was sent before is still answered',
      );
      await socket.close();
      test.same(
        ids.map((id) => bench.stats('slb_svc_stats', id).sockets),
        [0n, 0n],
      );
    },
  );

  t.test(`sendmsg() with an address on a connected socket, IPv${family}`, async (test) => {
    const [one, other] = [udp(sole(who.one)), udp(sole(who.two))];
    for (const service of [one, other]) bench.addService(service);
    const socket = await open(who.client);
    await socket.connect(who.vip, one.port);
    test.equal(await say(socket, who.vip, one.port), 'SOCKET_KNOWN done');
    test.match(await say(socket, who.vip, other.port), /^LEFT_TO_PACKETS /, 'whose answer it would not hear');
    test.equal(await say(socket, who.two, 9), 'NOT_OURS done');
    await servers.echo(end(who.one, 8080));
    test.equal(await socket.receive(), `x from ${end(who.vip, one.port)}`);
    test.equal(await socket.peer(), end(who.vip, one.port));
    await socket.close();
    test.equal(bench.count(), 0);
  });

  t.test(`connect() replaces the state of earlier datagrams, IPv${family}`, async (test) => {
    const services = [udp(sole(who.one)), udp(sole(who.two)), udp(sole(who.far))];
    const ids = services.map((service) => bench.addService(service).id);
    const counts = (): bigint[] => ids.map((id) => bench.stats('slb_svc_stats', id).sockets);
    const [one, other, third] = services as [ServiceSpec, ServiceSpec, ServiceSpec];
    const socket = await open();
    for (const { port } of [one, other]) await say(socket, who.vip, port);
    test.same(counts(), [1n, 1n, 0n]);
    test.equal(await socket.connect(who.two, 8080), 'done');
    test.equal(
      await socket.peer(),
      end(who.two, 8080),
      'a backend by its own name, though it was a service before',
    );
    test.same(counts(), [0n, 0n, 0n]);
    test.equal(await socket.connect(who.vip, third.port), 'done');
    test.equal(await socket.peer(), end(who.vip, third.port));
    test.same(counts(), [0n, 0n, 1n]);
    for (const address of [who.one, who.two]) await servers.echo(end(address, 8080));
    await socket.close();
    test.same(counts(), [0n, 0n, 0n]);
    test.equal(bench.count(), 0);
  });

  t.test(`datagrams that are not for a backend, IPv${family}`, async (test) => {
    const socket = await open();
    const none = udp({ backends: [] });
    const { id } = bench.addService(none);
    test.equal(await say(socket, who.vip, none.port), left, 'no endpoint: an ICMP error tells (S-43)');
    test.equal(bench.stats('slb_svc_stats', id).refused, 0n);
    test.equal(await say(socket, who.vip, 999), left, 'no such port (S-48)');
    test.equal(await say(socket, who.one, 8080), 'NOT_OURS done');
    await servers.echo(end(who.one, 8080));
    test.equal(await socket.receive(), `x from ${end(who.one, 8080)}`, 'a pod, by its own address');
    const steered = udp({ flags: abi.slbServiceFlags.SVC_NO_SOCKET_LB });
    bench.addService(steered);
    test.equal(await say(socket, who.vip, steered.port), left);
    test.same(bench.pointed(socket.cookie), []);
    await socket.close();
  });

  t.test(`affinity of datagrams (S-77), IPv${family}`, async (test) => {
    const service = udp({ affinitySec: 3600 });
    bench.addService(service);
    const free = await open();
    test.equal(await say(free, who.vip, service.port), left, 'the address to send from is not chosen yet');
    const homes = new Set<string | undefined>();
    for (let i = 0; i < 8; i++) {
      const socket = await open(who.client);
      test.equal(await say(socket, who.vip, service.port), 'SOCKET_NEW done');
      homes.add(rowOf(socket, service)?.backend);
      await told(socket, service);
      await socket.close();
    }
    test.equal(homes.size, 1);
    await free.close();
  });

  t.test(`datagrams with a source address in their control message, IPv${family}`, async (test) => {
    const service = udp();
    bench.addService(service);
    const socket = await open();
    const from = async (source: string): Promise<string> => {
      const [outcome, verdicts] = await bench.during(() => socket.sendFrom(source, who.vip, service.port));
      return `${verdicts} ${outcome}`;
    };
    test.match(await from(who.loopback), /^LEFT_TO_PACKETS /, 'no backend could answer that');
    test.equal(await from(who.client), 'SOCKET_NEW done');
    const backend = rowOf(socket, service)?.backend ?? '';
    test.match(await servers.echo(backend), end(who.client, Number((await socket.own()).split(':').at(-1))));
    test.equal(await socket.receive(), `x from ${end(who.vip, service.port)}`);
    test.match(await from(who.loopback), /^LEFT_TO_PACKETS /, 'also when its backend is known');
    await socket.close();
  });
}

t.test('IPv4 addresses at IPv6 sockets', async (test) => {
  const [four] = bothFamilies as [(typeof bothFamilies)[0]];
  const service = spec(four, 'cluster', { protocol: 'udp' });
  bench.addService(service);
  for (const address of [mapped(four.vip), four.vip]) {
    const socket = await caller.open(6, 'udp');
    test.equal(await say(socket, address, service.port), 'SOCKET_NEW done', address);
    test.equal(await say(socket, address, service.port), 'SOCKET_KNOWN done');
    for (let i = 0; i < 2; i++) {
      await servers.echo(rowOf(socket, service)?.backend ?? '');
      test.equal(await socket.receive(), `x from ${end(mapped(four.vip), service.port)}`);
    }
    await socket.close();
  }
});
