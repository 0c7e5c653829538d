// ICMP errors about translated packets (S-84): an error must quote the packet that its receiver sent.
//
//   client ──► [in] ──► router ──► backend      an error about a request comes back through [out],
//   client ◄─ router ◄─ [out] ◄─── backend      one about a reply comes in through [in]
import '../support/run/alone.ts';
import t from 'tap';
import { Bench } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { macs, show } from '../support/packet/dissect.ts';

t.setTimeout(120_000);
const bench = new Bench();
t.teardown(() => bench.close());

interface Kind {
  readonly what: string;
  readonly 4: { readonly type: number; readonly code: number; readonly rest: number };
  readonly 6: { readonly type: number; readonly code: number; readonly rest: number };
}

const kinds: readonly Kind[] = [
  { what: 'packet too big', 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, code: 0, rest: 1400 } },
  { what: 'port unreachable', 4: { type: 3, code: 3, rest: 0 }, 6: { type: 1, code: 4, rest: 0 } },
  { what: 'time exceeded', 4: { type: 11, code: 0, rest: 0 }, 6: { type: 3, code: 0, rest: 0 } },
  { what: 'parameter problem', 4: { type: 12, code: 0, rest: 8 << 24 }, 6: { type: 4, code: 0, rest: 8 } },
];

/** How much of the packet an error quotes: behind its IP header. */
const quotes = [
  { what: 'all of it', bytes: Infinity },
  { what: '8 bytes', bytes: 8 },
  { what: 'TCP header', bytes: 20 },
  { what: 'all but the end', bytes: 60 },
];

function connect(who: Addresses): void {
  bench.clearFlows();
  bench.addService({
    address: who.vip,
    port: 80,
    protocol: 'tcp',
    backends: [{ address: who.one, port: 8080 }],
  });
  bench.addService({
    address: who.vip,
    port: 53,
    protocol: 'udp',
    backends: [{ address: who.one, port: 5353 }],
  });
  bench.run('in', ip(who.client, who.vip).tcp({ sport: 40000, dport: 80, flags: 'S' }).bytes());
  bench.run('out', ip(who.one, who.client).tcp({ sport: 8080, dport: 40000, flags: 'SA' }).bytes());
  bench.run('in', ip(who.client, who.vip).udp({ sport: 40000, dport: 53 }).bytes());
}

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  const header = who.family === 4 ? 20 : 40;
  const text = (type: { type: number; code: number; rest: number }): string =>
    `ICMP ${type.type}/${type.code}${type.rest === 0 ? '' : ` rest=${type.rest}`}`;
  const inner = { seq: 7, ack: 9, flags: 'PA' };

  t.test(`an ICMP error about a request, ${family}`, (test) => {
    connect(who);
    const sent = ip(who.client, who.one)
      .tcp({ sport: 40000, dport: 8080, ...inner })
      .payload(90)
      .ip();
    const original = ip(who.client, who.vip)
      .tcp({ sport: 40000, dport: 80, ...inner })
      .payload(90)
      .ip();
    for (const kind of kinds) {
      for (const { what, bytes } of quotes) {
        for (const from of [who.router, who.one]) {
          const error = ip(from, who.client)
            .icmp(kind[who.family])
            .payload(sent.subarray(0, header + bytes))
            .bytes();
          test.equal(bench.run('in', error).verdict, 'OTHER_HOOK', 'it goes the way of replies');
          const outcome = bench.run('out', error);
          test.equal(outcome.verdict, 'ICMP_REPLY', `${kind.what}, quoting ${what}`);
          test.equal(outcome.action, 'next');
          const source = from === who.one ? who.vip : from;
          const expected = ip(source, who.client)
            .icmp(kind[who.family])
            .payload(original.subarray(0, header + bytes));
          test.equal(show(outcome.packet), show(expected.bytes()));
          test.same(outcome.packet, expected.bytes(), 'to the byte, every checksum');
        }
      }
    }
    test.end();
  });

  t.test(`an ICMP error about a reply, ${family}`, (test) => {
    connect(who);
    const sent = ip(who.vip, who.client)
      .tcp({ sport: 80, dport: 40000, ...inner })
      .payload(90)
      .ip();
    const original = ip(who.one, who.client)
      .tcp({ sport: 8080, dport: 40000, ...inner })
      .payload(90)
      .ip();
    for (const kind of kinds) {
      for (const { what, bytes } of quotes) {
        const error = ip(who.router, who.vip)
          .icmp(kind[who.family])
          .payload(sent.subarray(0, header + bytes))
          .bytes();
        test.equal(bench.run('out', error).verdict, 'OTHER_HOOK');
        test.equal(bench.run('xdp', error).verdict, 'LEFT_TO_TC');
        const outcome = bench.run('in', error);
        test.equal(outcome.verdict, 'ICMP_REQUEST', `${kind.what}, quoting ${what}`);
        const expected = ip(who.router, who.one)
          .icmp(kind[who.family])
          .payload(original.subarray(0, header + bytes));
        test.equal(show(outcome.packet), show(expected.bytes()));
        test.same(outcome.packet, expected.bytes());
      }
    }
    test.end();
  });

  t.test(`an ICMP error about a UDP datagram, ${family}`, (test) => {
    connect(who);
    const [, unreachable] = kinds;
    if (unreachable === undefined) throw new Error('no kind');
    const type = unreachable[who.family];
    const quote = (dst: string, dport: number, checksum: 'full' | 'none'): Uint8Array =>
      ip(who.client, dst).udp({ sport: 40000, dport, checksum }).payload(21).ip();
    for (const checksum of who.family === 4 ? (['full', 'none'] as const) : (['full'] as const)) {
      const error = ip(who.one, who.client)
        .icmp(type)
        .payload(quote(who.one, 5353, checksum))
        .bytes();
      const outcome = bench.run('out', error);
      test.equal(outcome.verdict, 'ICMP_REPLY', 'from the backend: no such socket');
      const expected = ip(who.vip, who.client)
        .icmp(type)
        .payload(quote(who.vip, 53, checksum))
        .bytes();
      test.same(outcome.packet, expected, `with a quoted checksum: ${checksum}`);
      test.match(show(outcome.packet), `${text(type)} { ${end(who.client, 40000)} > ${end(who.vip, 53)} UDP`);
    }
    test.end();
  });

  t.test(`an ICMP error about a hairpin packet, ${family}`, (test) => {
    connect(who);
    bench.run('in', ip(who.one, who.vip).tcp({ sport: 40001, dport: 80, flags: 'S' }).bytes());
    const [big] = kinds;
    if (big === undefined) throw new Error('no kind');
    const mac = { src: '02:00:00:00:00:02', dst: '02:00:00:00:00:01' };
    const sent = ip(who.vip, who.one)
      .tcp({ sport: 40001, dport: 8080, ...inner })
      .payload(90)
      .ip();
    const original = ip(who.one, who.vip)
      .tcp({ sport: 40001, dport: 80, ...inner })
      .payload(90)
      .ip();
    // The backend's own stack answers to the address it saw: the service's.
    const outcome = bench.run(
      'in',
      ip(who.one, who.vip, {}, mac).icmp(big[who.family]).payload(sent).bytes(),
    );
    test.equal(outcome.verdict, 'ICMP_REPLY');
    test.equal(outcome.action, 'redirect');
    const expected = ip(who.vip, who.one, {}, { src: mac.dst, dst: mac.src })
      .icmp(big[who.family])
      .payload(original);
    test.same(outcome.packet, expected.bytes());
    test.same(macs(outcome.packet), { src: mac.dst, dst: mac.src });
    test.end();
  });

  t.test(`other ICMP, and errors about other traffic, pass untouched, ${family}`, (test) => {
    connect(who);
    const echo = who.family === 4 ? { type: 8 } : { type: 128 };
    const [big] = kinds;
    if (big === undefined) throw new Error('no kind');
    const foreign = ip(who.client, who.two).tcp({ sport: 40000, dport: 8080 }).ip();
    const ping = ip(who.client, who.one).icmp(echo).ip();
    const cases = [
      { what: 'echo', packet: ip(who.client, who.vip).icmp(echo).payload(8), verdict: 'OTHER_PROTOCOL' },
      { what: 'another flow', packet: ip(who.router, who.client).icmp(big[who.family]).payload(foreign) },
      { what: 'a ping', packet: ip(who.router, who.client).icmp(big[who.family]).payload(ping) },
      { what: 'nothing', packet: ip(who.router, who.client).icmp(big[who.family]) },
      {
        what: 'a cut header',
        packet: ip(who.router, who.client).icmp(big[who.family]).payload(foreign.subarray(0, 12)),
      },
      {
        what: 'another family',
        packet: ip(who.router, who.client).icmp(big[who.family]).payload(new Uint8Array(60)),
      },
    ];
    for (const { what, packet, verdict = 'NOT_OURS' } of cases) {
      for (const hook of ['in', 'out'] as const) {
        const outcome = bench.run(hook, packet.bytes());
        test.equal(outcome.verdict, verdict, what);
        test.same(outcome.packet, packet.bytes());
      }
      test.equal(bench.run('xdp', packet.bytes()).action, 'pass');
    }
    test.end();
  });
}
