// The parser: headers that it accepts, and packets that it refuses.
import '../support/run/alone.ts';
import fc from 'fast-check';
import t from 'tap';
import { Bench, type Hook } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { eth, type Builder, type Extension } from '../support/packet/packet.ts';
import { holds } from '../support/run/property.ts';

t.setTimeout(120_000);
const bench = new Bench();
t.teardown(() => bench.close());
const hooks: readonly Hook[] = ['in', 'out', 'xdp'];

for (const who of bothFamilies) {
  for (const [protocol, port, target] of [
    ['tcp', 80, 8080],
    ['udp', 53, 5353],
  ] as const) {
    bench.addService({ address: who.vip, port, protocol, backends: [{ address: who.one, port: target }] });
  }
}

function tagged(packet: Uint8Array, ...tags: readonly number[]): Uint8Array {
  const bytes = tags.flatMap((type, i) => [type >> 8, type & 255, 0, i + 1]);
  return Uint8Array.from([...packet.subarray(0, 12), ...bytes, ...packet.subarray(12)]);
}

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  const syn = (options = {}): Builder =>
    ip(who.client, who.vip, options).tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 });
  const ask = (options = {}): Builder =>
    ip(who.client, who.vip, options).udp({ sport: 40000, dport: 53 }).payload(9);
  const tcpText = `${end(who.client, 40000)} > ${end(who.one, 8080)} TCP S seq=1 ack=0 len=0`;
  const udpText = `${end(who.client, 40000)} > ${end(who.one, 5353)} UDP len=9`;

  t.test(`VLAN tags in the frame, ${family}`, (test) => {
    bench.clearFlows();
    for (const hook of hooks) {
      test.equal(show(bench.run(hook, tagged(syn().bytes(), 0x8100)).packet), `vlan=1 ${tcpText}`);
      test.equal(
        show(bench.run(hook, tagged(syn().bytes(), 0x88a8, 0x8100)).packet),
        `vlan=1 vlan=2 ${tcpText}`,
      );
      const deep = tagged(syn().bytes(), 0x88a8, 0x8100, 0x8100);
      const outcome = bench.run(hook, deep);
      test.equal(outcome.verdict, 'NOT_IP', 'a third tag is not looked behind');
      test.same(outcome.packet, deep);
      bench.clearFlows();
    }
    test.end();
  });

  t.test(`headers between IP and transport (S-87), ${family}`, (test) => {
    const pad = (size: number): Uint8Array => new Uint8Array(size);
    const extensions: readonly { readonly note: string; readonly list: readonly Extension[] }[] = [
      { note: 'ext=0', list: [{ type: 0 }] },
      { note: 'ext=43', list: [{ type: 43, body: pad(22) }] },
      { note: 'ext=51', list: [{ type: 51, body: pad(10) }] },
      { note: 'ext=0 ext=60 ext=43 ext=44 ext=51 ext=60', list: [0, 60, 43, 44, 51, 60].map(padded) },
    ];
    const rows =
      who.family === 4
        ? [4, 20, 40].map((room) => ({
            options: { options: new Uint8Array(room).fill(1) },
            note: `options=${room}`,
          }))
        : extensions.map(({ note, list }) => ({ options: { extensions: list }, note }));
    for (const { options, note } of rows) {
      for (const hook of hooks) {
        bench.clearFlows();
        test.equal(show(bench.run(hook, syn(options).bytes()).packet), `${tcpText} ${note}`);
        test.equal(show(bench.run(hook, ask(options).bytes()).packet), `${udpText} ${note}`);
      }
    }
    test.end();
  });

  t.test(`other protocols (S-86), ${family}`, (test) => {
    const cases = [
      ip(who.client, who.vip, { protocol: 33 }).payload(40), // DCCP
      ip(who.client, who.vip, { protocol: 47 }).payload(4), // GRE
      ip(who.client, who.vip, { protocol: who.family === 4 ? 58 : 1 }).payload(40), // the other family's ICMP
    ];
    for (const packet of cases) {
      for (const hook of hooks) {
        const outcome = bench.run(hook, packet.bytes());
        test.equal(outcome.verdict, 'OTHER_PROTOCOL');
        test.same(outcome.packet, packet.bytes());
      }
    }
    test.end();
  });

  t.test(`headers cut anywhere, ${family}`, (test) => {
    bench.clearFlows();
    const header = 14 + (who.family === 4 ? 20 : 40);
    for (const [packet, whole] of [
      [syn().bytes(), header + 20],
      [ask().bytes(), header + 8 + 9],
    ] as const) {
      // A test run needs an Ethernet header and something behind it.
      for (let length = header; length < whole; length++) {
        for (const hook of hooks) {
          const outcome = bench.run(hook, packet.subarray(0, length));
          test.equal(outcome.verdict, 'DROP_MALFORMED', `${length} of ${whole} bytes at ${hook}`);
          test.equal(outcome.action, hook === 'xdp' ? 'drop' : 'shot');
        }
      }
    }
    test.same([...bench.flows(who.family)], [], 'no flow is made of them');
    test.end();
  });

  /** What no parser, or ours at least, gets through; `far`: not even to the destination address. */
  const unreadable = (
    to: string,
  ): readonly { readonly what: string; readonly packet: Builder; readonly far?: true }[] => {
    const tcp = { sport: 1, dport: 80 };
    return [
      { what: 'longer than the packet', packet: ip(who.client, to, { length: 4000 }).tcp(tcp) },
      {
        what: 'shorter than its headers',
        packet: ip(who.client, to, { length: who.family === 4 ? 30 : 10 }).tcp(tcp),
      },
      { what: 'TCP header of 16 bytes', packet: ip(who.client, to).tcp({ ...tcp, doff: 4 }) },
      { what: 'TCP options past the end', packet: ip(who.client, to).tcp({ ...tcp, doff: 15 }) },
      { what: 'UDP header cut', packet: ip(who.client, to, { protocol: 17 }).payload(4) },
      { what: 'SCTP without a chunk', packet: ip(who.client, to, { protocol: 132 }).payload(12) },
      { what: 'another version', packet: ip(who.client, to, { version: 5 }).tcp(tcp), far: true },
      ...(who.family === 4
        ? [
            {
              what: 'header of 16 bytes',
              packet: ip(who.client, to, { ihl: 4 }).tcp(tcp),
              far: true as const,
            },
          ]
        : [
            {
              what: 'extension past the end',
              packet: ip(who.client, to, { protocol: 0 }).payload(Uint8Array.of(6, 255, 0, 0, 0, 0, 0, 0)),
            },
            {
              what: 'extensions of 520 bytes',
              packet: ip(who.client, to, { extensions: [{ type: 60, body: new Uint8Array(518) }] }).tcp(tcp),
            },
          ]),
    ];
  };

  t.test(`packets for a Service whose headers contradict each other are dropped, ${family}`, (test) => {
    for (const { what, packet, far } of unreadable(who.vip)) {
      const [verdict, tc, xdp] =
        far === true ? ['UNREADABLE', 'next', 'pass'] : ['DROP_MALFORMED', 'shot', 'drop'];
      for (const hook of hooks) {
        const outcome = bench.run(hook, packet.bytes());
        test.equal(
          `${outcome.verdict} ${outcome.action}`,
          `${verdict} ${hook === 'xdp' ? xdp : tc}`,
          `${what} at ${hook}`,
        );
      }
    }
    test.end();
  });

  t.test(`such packets for other addresses pass unchanged (S-87), ${family}`, (test) => {
    bench.addNodeAddress(who.node);
    for (const to of [who.other, who.node, who.one]) {
      for (const { what, packet } of unreadable(to)) {
        for (const hook of hooks) {
          const outcome = bench.run(hook, packet.bytes());
          test.equal(
            `${outcome.verdict} ${outcome.action}`,
            `UNREADABLE ${hook === 'xdp' ? 'pass' : 'next'}`,
            `${what} to ${to} at ${hook}`,
          );
          test.same(outcome.packet, packet.bytes());
        }
      }
    }
    test.end();
  });

  t.test(`padding behind a short packet stays, ${family}`, (test) => {
    bench.clearFlows();
    const service = bench.addService({
      address: who.vip2,
      port: 80,
      protocol: 'tcp',
      backends: [{ address: who.one, port: 8080 }],
    });
    const packet = ip(who.client, who.vip2).tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 }).bytes();
    const padded = Uint8Array.from([...packet, 0, 0, 0, 0, 0, 0]);
    const outcome = bench.run('in', padded);
    test.equal(show(outcome.packet), tcpText);
    test.equal(outcome.packet.length, padded.length);
    test.equal(
      bench.stats('slb_svc_stats', service.id).bytesIn,
      who.family === 4 ? 40n : 60n,
      'and is not counted',
    );
    test.end();
  });
}

function padded(type: number): Extension {
  return { type, body: new Uint8Array(type === 51 ? 10 : 6) };
}

t.test('packets that are not IP pass', (test) => {
  for (const type of [0x0806, 0x88cc, 0x0000, 0xffff]) {
    for (const size of [4, 64]) {
      const packet = eth({ type }).payload(size).bytes();
      for (const hook of hooks) {
        const outcome = bench.run(hook, packet);
        test.equal(outcome.verdict, 'NOT_IP', type.toString(16));
        test.equal(outcome.action, hook === 'xdp' ? 'pass' : 'next');
        test.same(outcome.packet, packet);
      }
    }
  }
  test.end();
});

t.test('random packets are dropped, unchanged, or well-formed', (test) => {
  const [four, six] = bothFamilies;
  if (four === undefined || six === undefined) throw new Error('no addresses');
  const seeds = [four, six].flatMap((who) => [
    ip(who.client, who.vip)
      .tcp({ sport: 40000, dport: 80, flags: 'S', options: new Uint8Array(8) })
      .payload(30)
      .bytes(),
    ip(who.client, who.vip).udp({ sport: 40000, dport: 53 }).payload(30).bytes(),
    ip(who.router, who.vip)
      .icmp({ type: who.family === 4 ? 3 : 1 })
      .payload(ip(who.vip, who.client).tcp({ sport: 80, dport: 40000 }).payload(20).ip())
      .bytes(),
    tagged(ip(who.client, who.vip).udp({ sport: 40000, dport: 53 }).bytes(), 0x8100),
  ]);
  // Valid packets with some bytes replaced and the end cut off: these get further than noise.
  const mangled = fc
    .record({
      seed: fc.constantFrom(...seeds),
      changes: fc.array(fc.tuple(fc.nat(110), fc.nat(255)), { maxLength: 6 }),
      length: fc.integer({ min: 34, max: 140 }),
    })
    .map(({ seed, changes, length }) => {
      const bytes = Uint8Array.from(seed.subarray(0, length));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      return bytes;
    });
  const noise = fc.uint8Array({ minLength: 54, maxLength: 200 });
  holds(
    test,
    fc.property(fc.oneof(mangled, noise), fc.constantFrom(...hooks), (bytes, hook) => {
      const outcome = runTolerantly(hook, bytes);
      if (outcome === undefined) return true;
      if (['drop', 'shot', 'aborted'].includes(outcome.action)) return true;
      if (Buffer.compare(outcome.packet, bytes) === 0) return true;
      // What was changed was ours. It may have been wrong before: then it must be no more wrong than it was.
      const wrong = (packet: Uint8Array): string[] => show(packet).match(/\w+-sum[!~]/g) ?? [];
      return wrong(outcome.packet).length <= wrong(bytes).length;
    }),
    { numRuns: 3000 },
  );
  test.end();
});

/** Newer kernels refuse to run a frame that says IP and holds no header of it. */
function runTolerantly(hook: Hook, bytes: Uint8Array): ReturnType<Bench['run']> | undefined {
  try {
    return bench.run(hook, bytes);
  } catch (error) {
    if ((error as { code?: string }).code === 'EINVAL') return undefined;
    throw error;
  }
}
