// A client of this node reaches one backend in two ways from the same port: through a Service, and directly, as a
// socket does that was translated at connect(). A source port of its own tells the answers apart (S-68).
//
//   pod 40000 ──► service ──► backend 8080         from 40000
//   pod 40000 ──────────────► backend 8080         from another port, which the pod does not see
import t from 'tap';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { ip } from '../support/run/alone.ts';
import { testConfig, type Hook } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { Netns } from '../support/actors/netns.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import { answer, ask, endsOf, portOf, type Transport } from '../support/packet/probe.ts';
import { end as kill, run } from '../support/run/process.ts';

t.setTimeout(120_000);
const { bench, pod, uplink, devices } = benchOnNode(t);
const protocols = ['tcp', 'udp'] as const satisfies readonly Transport[];

// The pod's own network namespace, as the kernel numbers it for us. Both ends of the connection are in it.
const netnsId = 7;
const netns = await Netns.create('beside');
t.teardown(() => netns.close());
await run(['ip', 'netns', 'set', netns.name, String(netnsId)]);
bench.addDevice(devices.pod, { role: 'pod', netns: netnsId });

/** The pod's client is connected to the backend from port 40000 when this resolves. */
async function talk(who: Addresses): Promise<void> {
  const bits = who.family === 4 ? 32 : 128;
  await netns.ip([who.one, who.two].map((address) => `addr add ${address}/${String(bits)} dev lo nodad`));
  const code = `
    require('node:net').createServer(() => console.log('talks')).listen(8080, '${who.one}', () =>
      require('node:net').connect({ host: '${who.one}', port: 8080, localAddress: '${who.two}', localPort: 40000 }));`;
  const child = netns.spawn([process.execPath, '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => kill(child, 'SIGKILL'));
  if (child.stdout !== null) await once(child.stdout, 'data');
}

let ports = 1000;
function serve(who: Addresses, protocol: Transport): number {
  const port = ++ports;
  bench.addService({
    kind: 'cluster',
    address: who.vip,
    port,
    protocol,
    backends: [{ address: who.one, port: 8080 }],
  });
  return port;
}

for (const who of bothFamilies) {
  for (const protocol of protocols) {
    const title = `IPv${who.family}, ${protocol}`;
    /** Where a packet goes at this hook, and what it looks like then. */
    const sent = (hook: Hook, packet: Uint8Array, at: { ifindex: number }): string => {
      const outcome = bench.run(hook, packet, at);
      t.notMatch(show(outcome.packet), /sum/, 'every checksum is right');
      const { source, target } = endsOf(outcome.packet);
      return `${outcome.verdict}: ${source} > ${target}`;
    };
    const dial = (to: string, port: number, from: string, flags = 'S'): Uint8Array =>
      ask(from, to, port, { protocol, sport: 40000, flags });

    const [backend, from] = [who.one, who.two];
    t.test(`the later of two connections gets another source port, ${title}`, (test) => {
      bench.clearFlows();
      const port = serve(who, protocol);
      bench.run('in', dial(who.vip, port, from), pod);
      const beside = bench.run('in', dial(backend, 8080, from), pod);
      test.equal(beside.verdict, 'REQUEST_NEW');
      const own = portOf(endsOf(beside.packet).source);
      test.not(own, 40000);
      test.ok(own >= testConfig.snatPortMin && own <= testConfig.snatPortMax);
      test.equal(endsOf(beside.packet).target, end(backend, 8080), 'and goes where it was going');
      const data = dial(backend, 8080, from, 'A');
      test.equal(sent('in', data, pod), `REQUEST: ${end(from, own)} > ${end(backend, 8080)}`);
      const reply = answer(backend, 8080, from, own, protocol);
      test.equal(
        sent('out', reply, pod),
        `REPLY: ${end(backend, 8080)} > ${end(from, 40000)}`,
        'to the client as the backend',
      );
      test.end();
    });

    t.test(`no other connection gets a port of its own, ${title}`, (test) => {
      bench.clearFlows();
      const port = serve(who, protocol);
      test.equal(bench.run('in', dial(backend, 8080, from), pod).verdict, 'NOT_OURS', 'no service before');
      bench.run('in', dial(who.vip, port, from), pod);
      const other = ask(from, backend, 8080, { protocol, sport: 40001, flags: 'S' });
      test.equal(bench.run('in', other, pod).verdict, 'NOT_OURS', 'another port');
      const elsewhere = ask(from, backend, 8081, { protocol, sport: 40000, flags: 'S' });
      test.equal(bench.run('in', elsewhere, pod).verdict, 'NOT_OURS', 'another port of the backend');
      if (protocol === 'tcp') {
        const middle = bench.run('in', dial(backend, 8080, from, 'A'), pod);
        test.equal(middle.verdict, 'NOT_OURS', 'what is under way already');
      }
      bench.age(protocol === 'tcp' ? testConfig.tcpSynSec + 1 : testConfig.udpNewSec + 1);
      test.equal(
        bench.run('in', dial(backend, 8080, from), pod).verdict,
        'NOT_OURS',
        'once the other is over',
      );
      test.end();
    });

    t.test(`packets that do not come from a pod's device keep their port, ${title}`, (test) => {
      bench.clearFlows();
      const port = serve(who, protocol);
      bench.run('in', dial(who.vip, port, from), pod);
      for (const [hook, at] of [
        ['in', uplink],
        ['out', uplink],
        ['out', pod],
      ] as const)
        test.equal(bench.run(hook, dial(backend, 8080, from), at).verdict, 'NOT_OURS', hook);
      test.end();
    });
  }

  t.test(
    `a pod's socket that is connected to the backend already keeps its port, IPv${who.family}`,
    async (test) => {
      bench.clearFlows();
      const port = serve(who, 'tcp');
      const dial = ask(who.two, who.vip, port, { protocol: 'tcp', sport: 40000, flags: 'S' });
      const alone = bench.run('in', dial, pod);
      test.equal(endsOf(alone.packet).source, end(who.two, 40000), 'no socket has it');
      bench.clearFlows();
      await talk(who);
      const aside = bench.run('in', dial, pod);
      test.equal(aside.verdict, 'REQUEST_NEW');
      test.not(endsOf(aside.packet).source, end(who.two, 40000), 'the socket has it');
      const other = ask(who.two, who.vip, port, { protocol: 'tcp', sport: 40001, flags: 'S' });
      test.equal(endsOf(bench.run('in', other, pod).packet).source, end(who.two, 40001), 'others are free');
    },
  );
}

// The pod asks for a NodePort and is given itself: its source becomes the node's address that it dialled (S-66), and
// the rival is the socket that has that one, in the host's network namespace.
for (const who of bothFamilies) {
  for (const protocol of protocols) {
    t.test(
      `a hairpin connection and a socket of the host with the same ports, IPv${who.family}, ${protocol} (S-66, S-68)`,
      async (test) => {
        bench.clearFlows();
        ip(`neigh replace ${who.one} lladdr 02:00:00:00:00:09 dev pod0 nud permanent`);
        const port = ++ports;
        const backends = [{ address: who.one, port: 8080 }];
        bench.addService({ kind: 'node', address: who.node, port, protocol, backends, local: ['external'] });
        const own = (sport: number): string => {
          const { verdict, packet } = bench.run(
            'in',
            ask(who.one, who.node, port, { protocol, sport, flags: 'S' }),
            pod,
          );
          test.equal(verdict, 'HAIRPIN');
          return endsOf(packet).source;
        };
        test.equal(own(41000), end(who.node, 41000), 'no socket has it');
        bench.clearFlows();
        const close = await dialOut(who, protocol, 41000);
        const source = own(41000);
        test.not(source, end(who.node, 41000), 'the host talks to the pod from it');
        test.ok(source.startsWith(end(who.node, 0).slice(0, -1)), 'the address is the same');
        test.equal(own(41001), end(who.node, 41001), 'others are free');
        close();
      },
    );
  }
}

/** A socket of the host that has this port towards the pod's, whether or not it is ever answered. */
async function dialOut(
  { family, node, one }: Addresses,
  protocol: Transport,
  localPort: number,
): Promise<() => void> {
  if (protocol === 'tcp') {
    const socket = connect({ host: one, port: 8080, localAddress: node, localPort });
    socket.on('error', () => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    return () => socket.destroy();
  }
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  socket.bind(localPort, node);
  await once(socket, 'listening');
  socket.connect(8080, one);
  await once(socket, 'connect');
  return () => socket.close();
}
