// Replies of connections that netfilter tracks, from a port of this node that a service has too (S-55): the programs
// for kernels that let them be looked up. Entries are made by conntrack(8), in the namespace of the test.
//
//   pod 4711 ──► remote 9000            masqueraded to node 30001
//   node 30001 ◄── remote 9000          the pod's, although 30001 is a NodePort
//   node 30001 ◄── remote 9001          a client of the NodePort
import '../support/run/alone.ts';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { cut } from '../support/packet/fragments.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import { endsOf } from '../support/packet/probe.ts';

t.setTimeout(120_000);
if (!/ bpf_skb_ct_lookup\b/.test(readFileSync('/proc/kallsyms', 'latin1'))) {
  t.pass('tracked connections', { skip: 'this kernel has no bpf_skb_ct_lookup (5.18, with nf_conntrack)' });
  process.exit(0);
}
const { bench, uplink } = benchOnNode(t, { conntrack: true });
const protocols = ['tcp', 'udp'] as const;
type Protocol = (typeof protocols)[number];
type End = readonly [string, number];

function packet(protocol: Protocol, from: End, to: End, flags = 'A', body = 40): Uint8Array {
  const builder = ip(from[0], to[0]);
  const ports = { sport: from[1], dport: to[1] };
  const layer = protocol === 'tcp' ? builder.tcp({ ...ports, flags }) : builder.udp(ports);
  return layer.payload(body).bytes();
}

let origin = 4711;

/** Of a pod that has never talked before. */
const pod = (who: Addresses): End => [who.two, origin++];

/** As if `from` had talked to `to`, and been seen there as `node`. */
function track(protocol: Protocol, from: End, to: End, node: End): void {
  const state = protocol === 'tcp' ? ['--state', 'ESTABLISHED'] : [];
  const ends = [
    ...['--orig-src', from[0], '--orig-dst', to[0], '--reply-src', to[0], '--reply-dst', node[0]],
    ...['--sport', String(from[1]), '--dport', String(to[1])],
    ...['--reply-port-src', String(to[1]), '--reply-port-dst', String(node[1])],
  ];
  execFileSync('conntrack', ['-I', '-p', protocol, '-t', '600', ...ends, ...state], { stdio: 'ignore' });
}

let ports = 30_000;

/** A NodePort of its own for each test. */
function nodePort(who: Addresses, protocol: Protocol): End {
  const port = ++ports;
  bench.addService({
    kind: 'node',
    address: who.node,
    port,
    protocol,
    backends: [{ address: who.one, port: 8080 }],
  });
  return [who.node, port];
}

for (const who of bothFamilies) {
  for (const protocol of protocols) {
    const title = `IPv${who.family}, ${protocol}`;
    const remote: End = [who.other, 9000];

    t.test(`replies of a masqueraded connection are its own (S-55), ${title}`, (test) => {
      bench.clearFlows();
      const node = nodePort(who, protocol);
      track(protocol, pod(who), remote, node);
      for (const hook of ['in', 'xdp'] as const) {
        const reply = packet(protocol, remote, node);
        const outcome = bench.run(hook, reply, uplink);
        test.equal(outcome.verdict, 'HOST_CONNTRACK', hook);
        test.same(outcome.packet, reply, 'as it was');
      }
      test.equal(bench.flows(who.family).size, 0, 'no flow is made');
      test.end();
    });

    t.test(`others are clients of the NodePort, ${title}`, (test) => {
      bench.clearFlows();
      const node = nodePort(who, protocol);
      track(protocol, pod(who), remote, node);
      for (const from of [
        [who.other, 9001],
        [who.client, 9000],
      ] as const) {
        const dial = bench.run('in', packet(protocol, from, node, 'S'), uplink);
        test.equal(dial.verdict, 'REQUEST_NEW');
        test.equal(endsOf(dial.packet).target, end(who.one, 8080));
      }
      test.end();
    });

    t.test(`so is one whose own requests are tracked, ${title}`, (test) => {
      bench.clearFlows();
      const node = nodePort(who, protocol);
      track(protocol, remote, node, remote);
      const dial = bench.run('in', packet(protocol, remote, node), uplink);
      test.equal(dial.verdict, protocol === 'tcp' ? 'REQUEST_RESUMED' : 'REQUEST_NEW');
      test.end();
    });

    t.test(`a flow is asked before conntrack is, ${title}`, (test) => {
      bench.clearFlows();
      const node = nodePort(who, protocol);
      bench.run('in', packet(protocol, remote, node, 'S'), uplink);
      track(protocol, pod(who), remote, node);
      const more = bench.run('in', packet(protocol, remote, node), uplink);
      test.equal(more.verdict, 'REQUEST');
      test.end();
    });
  }

  t.test(`a SYN opens, whatever is tracked, IPv${who.family}`, (test) => {
    bench.clearFlows();
    const node = nodePort(who, 'tcp');
    track('tcp', pod(who), [who.other, 9000], node);
    test.equal(bench.run('in', packet('tcp', [who.other, 9000], node, 'S'), uplink).verdict, 'REQUEST_NEW');
    test.end();
  });

  t.test(`every fragment of a reply is the connection's, IPv${who.family}`, (test) => {
    bench.clearFlows();
    const node = nodePort(who, 'udp');
    track('udp', pod(who), [who.other, 9000], node);
    for (const piece of cut(packet('udp', [who.other, 9000], node, '', 2000), 1008, 7))
      test.equal(bench.run('in', piece, uplink).verdict, 'HOST_CONNTRACK');
    test.end();
  });
}
