// Connections for no Service whose source port is a Service's at an address of this node: of the host's own sockets,
// and of pods that netfilter masquerades. The older connection keeps its replies (S-55, S-68).
//
//   node 30080 ──► remote 9000          a flow that changes nothing, made as the first packet leaves
//   node 30080 ◄── remote 9000          the host's, although 30080 is a NodePort
//   node 30080 ◄── remote 9001          a client of the NodePort
import '../support/run/alone.ts';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { testConfig, type Outcome } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { cut } from '../support/packet/fragments.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import { endsOf } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const { bench, pod, uplink, devices } = benchOnNode(t);
const lo = { ifindex: devices.lo };
const protocols = ['tcp', 'udp', 'sctp'] as const;
type Protocol = (typeof protocols)[number];

type Flags = 'S' | 'SA' | 'A' | 'R';
const chunks: Readonly<Record<Flags, number>> = { S: 1, SA: 2, A: 0, R: 6 };

function packet(
  protocol: Protocol,
  from: [string, number],
  to: [string, number],
  flags: Flags,
  body = 40,
): Uint8Array {
  const ports = { sport: from[1], dport: to[1] };
  const builder = ip(from[0], to[0]);
  if (protocol === 'sctp')
    return builder
      .sctp({ ...ports, chunk: chunks[flags] })
      .payload(body)
      .bytes();
  const layer = protocol === 'tcp' ? builder.tcp({ ...ports, flags }) : builder.udp(ports);
  return layer.payload(body).bytes();
}

let ports = 30_000;

/** A NodePort of its own for each test. */
function nodePort(who: Addresses, protocol: Protocol): number {
  const port = ++ports;
  bench.addService({
    kind: 'node',
    address: who.node,
    port,
    protocol,
    backends: [{ address: who.one, port: 8080 }],
  });
  return port;
}

function same(test: Test, outcome: Outcome, verdict: string, sent: Uint8Array, what = verdict): void {
  test.equal(outcome.verdict, verdict, what);
  test.same(outcome.packet, sent, 'and the packet is as it was');
  test.ok(['next', 'pass'].includes(outcome.action));
}

for (const who of bothFamilies) {
  for (const protocol of protocols) {
    const title = `IPv${who.family}, ${protocol}`;

    for (const [what, out, back] of [
      [
        'this host',
        uplink,
        [
          ['in', uplink],
          ['xdp', uplink],
        ],
      ],
      ['this host, to a pod', pod, [['in', pod]]],
      [
        'a pod that netfilter masquerades',
        { ...uplink, forwarded: true },
        [
          ['in', uplink],
          ['xdp', uplink],
        ],
      ],
      ['this host, to itself', lo, [['out', lo]]],
    ] as const) {
      t.test(`replies to ${what} from a NodePort are its own (S-55), ${title}`, (test) => {
        bench.clearFlows();
        const port = nodePort(who, protocol);
        const remote = [what === 'this host, to itself' ? who.gateway : who.other, 9000] as [string, number];
        const node = [who.node, port] as [string, number];
        const first = packet(protocol, node, remote, 'S');
        same(test, bench.run('out', first, out), 'REQUEST_NEW', first);
        for (const flags of ['SA', 'A'] as const) {
          const reply = packet(protocol, remote, node, flags);
          for (const [hook, at] of back)
            same(test, bench.run(hook, reply, at), hook === 'xdp' ? 'LEFT_TO_TC' : 'REPLY', reply, hook);
          const data = packet(protocol, node, remote, 'A');
          same(test, bench.run('out', data, out), 'REQUEST', data);
        }
        const stats = [...bench.flows(who.family).values()].filter(({ service }) => service !== 0);
        test.same(stats, [], 'no service has it');
        test.end();
      });
    }

    t.test(`replies from a load balancer port at the node's own address too, ${title}`, (test) => {
      bench.clearFlows();
      const shared = who.family === 4 ? '192.0.2.98' : '2001:db8::98';
      bench.addNodeAddress(shared, { nodePort: false });
      const port = ++ports;
      const backends = [{ address: who.one, port: 8080 }];
      bench.addService({ kind: 'balancer', address: shared, port, protocol, backends });
      const first = packet(protocol, [shared, port], [who.other, 9000], 'S');
      same(test, bench.run('out', first, uplink), 'REQUEST_NEW', first);
      const reply = packet(protocol, [who.other, 9000], [shared, port], 'SA');
      same(test, bench.run('in', reply, uplink), 'REPLY', reply);
      test.end();
    });

    t.test(`other clients still reach the NodePort (S-53), ${title}`, (test) => {
      bench.clearFlows();
      const port = nodePort(who, protocol);
      bench.run('out', packet(protocol, [who.node, port], [who.other, 9000], 'S'), uplink);
      for (const from of [
        [who.other, 9001],
        [who.client, 9000],
      ] as [string, number][]) {
        const dial = bench.run('in', packet(protocol, from, [who.node, port], 'S'), uplink);
        test.equal(dial.verdict, 'REQUEST_NEW');
        test.equal(endsOf(dial.packet).target, end(who.one, 8080));
      }
      bench.age(testConfig.tcpIdleSec + 1);
      const again = bench.run('in', packet(protocol, [who.other, 9000], [who.node, port], 'S'), uplink);
      test.equal(
        endsOf(again.packet).target,
        end(who.one, 8080),
        'and the remote itself, once the connection is over',
      );
      test.end();
    });

    t.test(`a connection from a port that is no frontend gets no flow, ${title}`, (test) => {
      bench.clearFlows();
      const port = nodePort(who, protocol);
      for (const from of [
        [who.node, port + 1],
        [who.two, port],
        [who.client, port],
      ] as [string, number][]) {
        for (const at of [uplink, { ...uplink, forwarded: true }]) {
          const first = packet(protocol, from, [who.other, 9000], 'S');
          same(test, bench.run('out', first, at), 'NOT_OURS', first);
        }
      }
      if (protocol !== 'udp') {
        const data = packet(protocol, [who.node, port], [who.other, 9000], 'A');
        same(test, bench.run('out', data, uplink), 'NOT_OURS', data, 'nor what is under way');
      }
      test.equal(bench.flows(who.family).size, 0);
      test.end();
    });

    t.test(`a translated packet that passes again gets no flow, ${title}`, (test) => {
      bench.clearFlows();
      const port = nodePort(who, protocol);
      const dial = bench.run('in', packet(protocol, [who.client, 9000], [who.node, port], 'S'), uplink);
      const { source } = endsOf(dial.packet);
      test.equal(source, end(who.gateway, 9000), 'masqueraded');
      const flows = bench.flows(who.family).size;
      const reply = packet(protocol, [who.node, port], [who.client, 9000], 'S');
      same(
        test,
        bench.run('out', reply, { ...uplink, forwarded: true }),
        'NOT_OURS',
        reply,
        'what the service answers',
      );

      const cluster = ++ports;
      const backends = [{ address: who.far, port: 8080 }];
      bench.addService({ address: who.vip, port: cluster, protocol, backends });
      const own = bench.run('out', packet(protocol, [who.node, port], [who.vip, cluster], 'S'), uplink);
      test.equal(own.verdict, 'REQUEST_NEW');
      test.equal(endsOf(own.packet).target, end(who.far, 8080));
      const sent = packet(protocol, [who.node, port], [who.far, 8080], 'S');
      same(test, bench.run('out', sent, uplink), 'NOT_OURS', sent, 'what this host asks of one');
      test.equal(bench.flows(who.family).size, flows + 2);
      test.end();
    });

    if (protocol !== 'udp') {
      t.test(`SYN-ACKs and resets without a flow pass to the stack, ${title}`, (test) => {
        bench.clearFlows();
        const port = nodePort(who, protocol);
        for (const flags of ['SA', 'R'] as const) {
          for (const [hook, at] of [
            ['in', uplink],
            ['in', pod],
            ['xdp', uplink],
            ['out', lo],
          ] as const) {
            const stray = packet(protocol, [who.other, 9000], [who.node, port], flags);
            same(test, bench.run(hook, stray, at), 'NO_FLOW', stray, `${flags} ${hook}`);
          }
        }
        test.equal(bench.flows(who.family).size, 0);
        test.end();
      });
    }
  }

  t.test(`a fragmented datagram is matched by its first fragment (S-85), IPv${who.family}`, (test) => {
    bench.clearFlows();
    const port = nodePort(who, 'udp');
    const remote = [who.other, 9000] as [string, number];
    for (const piece of cut(packet('udp', [who.node, port], remote, 'S', 2000), 1008, 7)) {
      const outcome = bench.run('out', piece, uplink);
      test.match(outcome.verdict, /^REQUEST/);
      test.same(outcome.packet, piece);
    }
    for (const piece of cut(packet('udp', remote, [who.node, port], 'S', 2000), 1008, 8))
      same(test, bench.run('in', piece, uplink), 'REPLY', piece);
    test.end();
  });

  // ─── Sockets that were there before the NodePort ───────────────────────────────────────────────────────────────────

  t.test(`a connected TCP socket receives its replies (S-55), IPv${who.family}`, async (test) => {
    bench.clearFlows();
    const server = createServer((end) => end.on('error', () => undefined)).listen(0, who.gateway);
    await once(server, 'listening');
    const socket = connect({
      host: who.gateway,
      port: (server.address() as AddressInfo).port,
      localAddress: who.node,
    });
    await once(socket, 'connect');
    const remote = [who.gateway, socket.remotePort ?? 0] as [string, number];
    const node = [who.node, socket.localPort ?? 0] as [string, number];
    const backends = [{ address: who.one, port: 8080 }];
    bench.addService({ kind: 'node', address: who.node, port: node[1], protocol: 'tcp', backends });
    for (const hook of ['in', 'xdp'] as const) {
      for (const flags of ['A', 'R', 'SA'] as const) {
        const reply = packet('tcp', remote, node, flags);
        same(test, bench.run(hook, reply, uplink), 'HOST_SOCKET', reply, `${hook} ${flags}`);
      }
    }
    const other = bench.run('in', packet('tcp', [who.gateway, remote[1] + 1], node, 'A'), pod);
    // Taken for requests, whose source is an address of this host: forged, were they not of this test.
    test.equal(other.verdict, 'DROP_MARTIAN', 'another port of the remote is a client');
    socket.resetAndDestroy();
    server.close();
    await once(server, 'close');
    const later = bench.run('in', packet('tcp', remote, node, 'A'), pod);
    test.equal(later.verdict, 'DROP_MARTIAN', 'once it is gone, so is its remote');
  });

  t.test(
    `a connected UDP socket too; unconnected and listening sockets receive none, IPv${who.family}`,
    async (test) => {
      bench.clearFlows();
      const socket = createSocket(who.family === 4 ? 'udp4' : 'udp6');
      socket.bind({ address: who.node, exclusive: true });
      await once(socket, 'listening');
      const node = [who.node, socket.address().port] as [string, number];
      for (const protocol of ['tcp', 'udp'] as const) {
        const backends = [{ address: who.one, port: 8080 }];
        bench.addService({ kind: 'node', address: who.node, port: node[1], protocol, backends });
      }
      const remote = [who.other, 9000] as [string, number];
      const reply = packet('udp', remote, node, 'S');
      test.equal(
        bench.run('in', reply, uplink).verdict,
        'REQUEST_NEW',
        'a socket without a peer owns no replies',
      );
      bench.clearFlows();
      const server = createServer().listen(node[1], who.node);
      await once(server, 'listening');
      test.equal(
        bench.run('in', packet('tcp', remote, node, 'A'), uplink).verdict,
        'REQUEST_RESUMED',
        'it listens',
      );
      server.close();
      socket.connect(remote[1], who.other);
      await once(socket, 'connect');
      for (const hook of ['in', 'xdp'] as const)
        same(test, bench.run(hook, reply, uplink), 'HOST_SOCKET', reply, hook);
      const other = bench.run('in', packet('udp', [who.other, 9001], node, 'S'), uplink);
      test.equal(other.verdict, 'REQUEST_NEW', 'others are clients');
      socket.close();
    },
  );
}
