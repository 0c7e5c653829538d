// Packets for Services without a backend, and for no Service at all.
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import { slbServiceFlags } from '../../src/abi/layout.gen.ts';
import { Bench, type Outcome } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip } from '../support/packet/addresses.ts';
import { macs, show } from '../support/packet/dissect.ts';
import type { Checksum, TcpFields } from '../support/packet/packet.ts';

t.setTimeout(120_000);
const bench = new Bench();
t.teardown(() => bench.close());

interface TcpCase {
  readonly what: string;
  readonly flags: string;
  readonly seq?: number;
  readonly ack?: number;
  readonly body?: number;
  readonly options?: Uint8Array;
  readonly checksum?: Checksum;
  readonly reset: string; // flags, seq and ack of the answer
}

// RFC 9293, 3.10.7.1: seq of an answer is the ACK it answers, or 0; without ACK it acknowledges all that came.
const tcpCases: readonly TcpCase[] = [
  { what: 'SYN', flags: 'S', seq: 1000, reset: 'RA seq=0 ack=1001' },
  { what: 'SYN with options', flags: 'S', seq: 5, options: new Uint8Array(20), reset: 'RA seq=0 ack=6' },
  { what: 'SYN with data', flags: 'S', seq: 5, body: 10, reset: 'RA seq=0 ack=16' },
  { what: 'SYN at the end of sequence space', flags: 'S', seq: 0xffffffff, reset: 'RA seq=0 ack=0' },
  {
    what: 'SYN whose checksum is unfinished',
    flags: 'S',
    seq: 5,
    checksum: 'partial',
    reset: 'RA seq=0 ack=6',
  },
  { what: 'packet in mid-connection', flags: 'PA', seq: 7, ack: 99, body: 100, reset: 'R seq=99 ack=0' },
  { what: 'FIN', flags: 'FA', seq: 7, ack: 99, reset: 'R seq=99 ack=0' },
  { what: 'FIN without ACK', flags: 'F', seq: 7, reset: 'RA seq=0 ack=8' },
  { what: 'data that fills a frame', flags: 'PA', seq: 7, ack: 99, body: 1400, reset: 'R seq=99 ack=0' },
];

const mac = { src: '02:00:00:00:00:02', dst: '02:00:00:00:00:01' };

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  for (const protocol of ['tcp', 'udp'] as const) {
    bench.addService({ address: who.empty, port: 80, protocol, backends: [] });
  }
  const tcp = (fields: Partial<TcpFields>, body = 0, options = {}): Uint8Array =>
    ip(who.client, who.empty, options, mac)
      .tcp({ sport: 40000, dport: 80, ...fields })
      .payload(body)
      .bytes();
  const sentBack = (test: Test, outcome: Outcome): void => {
    test.equal(outcome.action, 'redirect', 'sent back');
    test.same(macs(outcome.packet), { src: mac.dst, dst: mac.src }, 'to the sender');
  };

  t.test(`TCP is rejected with RST, ${family}`, (test) => {
    for (const { what, reset, body = 0, ...fields } of tcpCases) {
      for (const hook of ['in', 'out'] as const) {
        const outcome = bench.run(hook, tcp(fields, body));
        test.equal(outcome.verdict, 'REFUSED_RST', what);
        const ends = `${end(who.empty, 80)} > ${end(who.client, 40000)}`;
        const unfinished = fields.checksum === 'partial' ? ' tcp-sum~' : '';
        test.equal(show(outcome.packet), `${ends} TCP ${reset} len=0${unfinished}`, what);
        sentBack(test, outcome);
      }
      test.equal(bench.run('xdp', tcp(fields, body)).verdict, 'LEFT_TO_TC', `${what}: XDP leaves it to tc`);
    }
    test.same([...bench.flows(who.family)], [], 'no flow is made');
    test.end();
  });

  t.test(`a RST is never answered with RST, ${family}`, (test) => {
    for (const flags of ['R', 'RA', 'SR']) {
      const outcome = bench.run('in', tcp({ flags }));
      test.equal(outcome.verdict, 'DROP_NO_FLOW', flags);
      test.equal(outcome.action, 'shot');
    }
    test.equal(bench.run('xdp', tcp({ flags: 'R' })).action, 'drop');
    test.equal(bench.run('in', tcp({ flags: 'SA' })).verdict, 'DROP_NO_FLOW', 'SYN and ACK opens nothing');
    test.end();
  });

  t.test(`IP options and extension headers before TCP are handled, ${family}`, (test) => {
    const options =
      who.family === 4
        ? { options: Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 1) } // record route
        : { extensions: [{ type: 0 }, { type: 60 }] };
    const outcome = bench.run('in', tcp({ flags: 'S', seq: 5 }, 0, options));
    const note = who.family === 4 ? 'room=8' : 'ext=0 ext=60';
    const ends = `${end(who.empty, 80)} > ${end(who.client, 40000)}`;
    test.equal(show(outcome.packet), `${ends} TCP RA seq=0 ack=6 len=0 ${note}`);
    test.end();
  });

  t.test(`UDP is rejected with port unreachable, ${family}`, (test) => {
    const icmp = who.family === 4 ? '3/3' : '1/4';
    const cases = [
      { what: 'empty', body: 0 },
      { what: 'odd length', body: 5 },
      { what: 'short', body: 60 },
      { what: 'longer than what is quoted', body: 1400 },
    ];
    for (const { what, body } of cases) {
      const request = ip(who.client, who.empty, {}, mac).udp({ sport: 40000, dport: 80 }).payload(body);
      for (const hook of ['in', 'out'] as const) {
        const outcome = bench.run(hook, request.bytes());
        test.equal(outcome.verdict, 'REFUSED_UNREACHABLE', what);
        const quoted = `${end(who.client, 40000)} > ${end(who.empty, 80)} UDP len=${body}`;
        test.equal(show(outcome.packet), `${who.empty} > ${who.client} ICMP ${icmp} { ${quoted} }`, what);
        sentBack(test, outcome);
        const header = who.family === 4 ? 20 : 40;
        const quote = outcome.packet.subarray(14 + header + 8);
        test.ok(quote.length >= header + 8, 'quotes the headers at least');
        test.same(quote, request.ip().subarray(0, quote.length), 'as they came');
      }
      test.equal(bench.run('xdp', request.bytes()).verdict, 'LEFT_TO_TC');
    }
    test.end();
  });

  t.test(`behind VLAN tags, ${family}`, (test) => {
    // Tags that are in the frame: the answer carries them too.
    const tagged = (depth: number): Uint8Array => {
      const packet = ip(who.client, who.empty, {}, mac).udp({ sport: 40000, dport: 80 }).payload(20).bytes();
      const tags = Uint8Array.from([0x81, 0, 0, 7, 0x81, 0, 0, 9].slice(0, 4 * depth));
      return Uint8Array.from([...packet.subarray(0, 12), ...tags, ...packet.subarray(12)]);
    };
    for (const depth of [1, 2]) {
      const outcome = bench.run('in', tagged(depth));
      test.equal(outcome.verdict, 'REFUSED_UNREACHABLE');
      const tags = ['vlan=7', 'vlan=9'].slice(0, depth).join(' ');
      test.ok(
        show(outcome.packet).startsWith(`${tags} ${who.empty} > ${who.client} ICMP`),
        show(outcome.packet),
      );
      test.notMatch(show(outcome.packet), /sum/);
    }
    test.end();
  });

  t.test(`with endpoints on other nodes alone: dropped, not rejected, ${family}`, (test) => {
    const spec = { address: who.vip2, port: 80, protocol: 'tcp', backends: [] } as const;
    bench.addService({ ...spec, flags: slbServiceFlags.SVC_ANY_ENDPOINT });
    const syn = ip(who.client, who.vip2).tcp({ sport: 40000, dport: 80, flags: 'S' }).bytes();
    for (const hook of ['in', 'out', 'xdp'] as const)
      test.equal(bench.run(hook, syn).verdict, 'DROP_NO_LOCAL');
    test.end();
  });

  t.test(`packets for no Service pass untouched (S-49), ${family}`, (test) => {
    bench.addService({ kind: 'external', address: who.external, port: 80, protocol: 'tcp', backends: [] });
    const cases = [
      { what: 'another address', dst: who.other, dport: 80, verdict: 'NOT_OURS' },
      {
        what: "another port of an address that is not the cluster's",
        dst: who.external,
        dport: 81,
        verdict: 'NO_SUCH_PORT',
      },
    ];
    for (const { what, dst, dport, verdict } of cases) {
      for (const hook of ['in', 'out', 'xdp'] as const) {
        for (const packet of [
          ip(who.client, dst).tcp({ sport: 40000, dport, flags: 'S' }).bytes(),
          ip(who.client, dst).udp({ sport: 40000, dport }).bytes(),
        ]) {
          const outcome = bench.run(hook, packet);
          test.equal(outcome.verdict, verdict, what);
          test.equal(outcome.action, hook === 'xdp' ? 'pass' : 'next', 'left to the next program');
          test.same(outcome.packet, packet, 'unchanged');
        }
      }
    }
    test.end();
  });
}
