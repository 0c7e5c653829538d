// Fragments follow the first one of their datagram, also when they come before it (S-85).
import '../support/run/alone.ts';
import t from 'tap';
import { decode, encode } from '../../src/abi/codec.ts';
import * as abi from '../../src/abi/layout.gen.ts';
import type { VerdictName } from '../../src/abi/layout.gen.ts';
import { testConfig, type Hook, type RunOptions } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { cut, join } from '../support/packet/fragments.ts';
import { benchOnNode } from '../support/kernel/node.ts';

const { bench, pod, uplink } = benchOnNode(t);
const waitSec = 30;

let ids = 100; // every datagram has one of its own
const pieces = (frame: Uint8Array, size = 48): Uint8Array[] => cut(frame, size, ++ids);
const verdictsOf = (hook: Hook, frames: readonly Uint8Array[], options: RunOptions): VerdictName[] =>
  frames.map((frame) => bench.run(hook, frame, options).verdict);
const later = (frames: readonly Uint8Array[]): Uint8Array[] => frames.slice(1).reverse();
const first = (frames: readonly Uint8Array[]): Uint8Array => frames[0] ?? new Uint8Array(0);

function parked(): { key: Uint8Array; row: abi.SlbQueuedRow }[] {
  const map = bench.map('slb_queued');
  const { keys, values, count } = map.readBatch(undefined, map.info.maxEntries);
  return Array.from({ length: count }, (_, i) => ({
    key: keys.slice(i * abi.slbQueuedKey.size, (i + 1) * abi.slbQueuedKey.size),
    row: decode(abi.slbQueued, values, i * abi.slbQueued.size),
  }));
}

/** Runs, and says what was counted besides meanwhile. */
function counting(run: () => void): { copied: bigint; released: bigint } {
  const before = bench.counters();
  run();
  const after = bench.counters();
  return {
    copied: after.FRAGMENT_COPIED - before.FRAGMENT_COPIED,
    released: after.FRAGMENT_RELEASED - before.FRAGMENT_RELEASED,
  };
}

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  for (const [protocol, port, target] of [
    ['udp', 53, 5353],
    ['tcp', 80, 8080],
  ] as const) {
    bench.addService({ address: who.vip, port, protocol, backends: [{ address: who.one, port: target }] });
    bench.addService({ address: who.empty, port, protocol, backends: [] });
  }
  bench.addService({
    ...{ address: who.node, port: 30053, kind: 'node', protocol: 'udp' },
    backends: [{ address: who.far, port: 5353 }],
  });
  const datagram = (dst = who.vip, dport = 53): Uint8Array =>
    ip(who.client, dst).udp({ sport: 40000, dport }).payload(100).bytes();
  const reply = ip(who.one, who.client).udp({ sport: 5353, dport: 40000 }).payload(100).bytes();

  t.test(`fragments follow the first one in both directions (S-85), ${family}`, (test) => {
    bench.clearFlows();
    const segment = ip(who.client, who.vip)
      .tcp({ sport: 40000, dport: 80, flags: 'SP' })
      .payload(100)
      .bytes();
    const rows = [
      [datagram(), `${end(who.client, 40000)} > ${end(who.one, 5353)} UDP len=100`],
      [segment, `${end(who.client, 40000)} > ${end(who.one, 8080)} TCP SP seq=0 ack=0 len=100`],
    ] as const;
    for (const [whole, text] of rows) {
      const sent = pieces(whole).map((piece) => bench.run('in', piece, pod));
      test.same(
        sent.map(({ verdict }) => verdict),
        ['REQUEST_NEW', ...sent.slice(1).map(() => 'REQUEST')],
      );
      test.equal(show(join(sent.map(({ packet }) => packet)) ?? whole), text, 'and make a whole again');
    }
    const back = pieces(reply).map((piece) => bench.run('out', piece, { ...pod, forwarded: true }));
    test.strictSame(
      back.map(({ verdict }) => verdict),
      ['REPLY', 'REPLY', 'REPLY'],
    );
    const answer = `${end(who.vip, 53)} > ${end(who.client, 40000)} UDP len=100`;
    test.equal(show(join(back.map(({ packet }) => packet)) ?? reply), answer);
    test.strictSame(verdictsOf('xdp', pieces(datagram()), uplink), [
      'LEFT_TO_TC',
      'LEFT_TO_TC',
      'LEFT_TO_TC',
    ]);
    test.end();
  });

  t.test(`fragments that come early wait for the first one (S-85), ${family}`, (test) => {
    bench.clearFlows();
    const frames = pieces(datagram());
    const events = counting(() => {
      test.strictSame(verdictsOf('in', later(frames), pod), ['FRAGMENT_HELD', 'FRAGMENT_HELD']);
      test.same(
        parked()
          .map(({ row }) => Buffer.from(row.frame.subarray(0, row.len)).toString('hex'))
          .sort(),
        later(frames)
          .map((frame) => Buffer.from(frame).toString('hex'))
          .sort(),
        'as they came',
      );
      const { verdict, action } = bench.run('in', first(frames), pod);
      test.strictSame([verdict, action], ['FRAGMENTS_RELEASED', 'shot']);
    });
    test.strictSame(events, { copied: 0n, released: 2n });
    test.strictSame(parked(), [], 'none is left');
    test.strictSame([...bench.flows(who.family)], [], 'it has opened nothing yet');
    test.strictSame(verdictsOf('in', frames, pod), ['REQUEST_NEW', 'REQUEST', 'REQUEST'], 'the second time');
    test.end();
  });

  t.test(`fragments of other traffic pass in any order (S-85), ${family}`, (test) => {
    const frames = pieces(datagram(who.other));
    const events = counting(() => {
      test.strictSame(verdictsOf('in', [...later(frames), first(frames)], pod), [
        'NOT_OURS',
        'NOT_OURS',
        'NOT_OURS',
      ]);
    });
    test.strictSame(events, { copied: 2n, released: 0n });
    test.strictSame(parked(), [], 'their copies are gone');
    test.end();
  });

  t.test(`fragments of a reply are recognised by the first one (S-85), ${family}`, (test) => {
    bench.clearFlows();
    bench.run('in', datagram(), pod);
    const frames = pieces(reply);
    const events = counting(() => {
      test.strictSame(verdictsOf('in', later(frames), pod), ['NOT_OURS', 'NOT_OURS']);
      test.equal(bench.run('in', first(frames), pod).verdict, 'FRAGMENTS_RELEASED');
    });
    test.strictSame(events, { copied: 2n, released: 2n });
    test.strictSame(verdictsOf('in', frames, pod), ['OTHER_HOOK', 'OTHER_HOOK', 'OTHER_HOOK']);
    test.strictSame(verdictsOf('out', frames, { ...pod, forwarded: true }), ['REPLY', 'REPLY', 'REPLY']);
    test.end();
  });

  t.test(`fragments of masqueraded connections, in both directions (S-64, S-85), ${family}`, (test) => {
    bench.clearFlows();
    const frames = pieces(datagram(who.node, 30053));
    const there = verdictsOf('in', [...later(frames), first(frames), ...frames], uplink);
    test.strictSame(there.slice(0, 3), ['FRAGMENT_HELD', 'FRAGMENT_HELD', 'FRAGMENTS_RELEASED']);
    test.strictSame(there.slice(3), ['REQUEST_NEW', 'REQUEST', 'REQUEST']);
    const answer = pieces(ip(who.far, who.node).udp({ sport: 5353, dport: 40000 }).payload(100).bytes());
    const back = verdictsOf('in', [...later(answer), first(answer), ...answer], uplink);
    test.strictSame(back.slice(0, 3), ['FRAGMENT_HELD', 'FRAGMENT_HELD', 'FRAGMENTS_RELEASED']);
    test.strictSame(back.slice(3), ['REPLY', 'REPLY', 'REPLY']);
    test.end();
  });

  t.test(`fragment state expires (S-85), ${family}`, (test) => {
    const frames = pieces(datagram());
    verdictsOf('in', later(frames), pod);
    for (const { key, row } of parked()) {
      const seen = (row.seen - waitSec * testConfig.hz) >>> 0;
      bench.map('slb_queued').put(key, encode(abi.slbQueued, { ...row, seen }));
    }
    const events = counting(() => bench.run('in', first(frames), pod));
    test.strictSame(events, { copied: 0n, released: 0n }, 'the id is another datagram’s by now');
    test.strictSame(parked(), []);
    test.end();
  });

  t.test(`waiting fragments are limited in number and length (S-85), ${family}`, (test) => {
    const most = abi.slbLimits.QUEUED_MAX;
    const many = pieces(
      ip(who.client, who.vip)
        .udp({ sport: 40000, dport: 53 })
        .payload(8 * most + 8)
        .bytes(),
      8,
    );
    const outcomes = verdictsOf('in', later(many), pod);
    test.strictSame(outcomes.slice(0, most), Array(most).fill('FRAGMENT_HELD'));
    test.equal(outcomes[most], 'DROP_FRAGMENT');
    bench.run('in', first(many), pod);
    const head = 14 + (who.family === 4 ? 20 : 48);
    const fits = Math.floor((abi.slbLimits.QUEUED_FRAME - head) / 8) * 8;
    for (const [dst, outcome] of [
      [who.vip, 'DROP_FRAGMENT'],
      [who.other, 'NOT_OURS'],
    ] as const) {
      const long = (size: number): Uint8Array[] =>
        pieces(
          ip(who.client, dst)
            .udp({ sport: 40000, dport: 53 })
            .payload(2 * size)
            .bytes(),
          size,
        );
      test.equal(bench.run('in', long(fits + 8)[1] ?? new Uint8Array(0), pod).verdict, outcome);
      const longest = bench.run('in', long(fits)[1] ?? new Uint8Array(0), pod);
      test.equal(longest.verdict, dst === who.vip ? 'FRAGMENT_HELD' : 'NOT_OURS');
    }
    for (const { key } of parked()) bench.map('slb_queued').delete(key);
    test.end();
  });

  t.test(`fragments of a refused datagram are dropped after the answer (S-43, S-85), ${family}`, (test) => {
    const outcomes = verdictsOf('in', pieces(datagram(who.empty)), pod);
    test.strictSame(outcomes, ['REFUSED_UNREACHABLE', 'DROP_FRAGMENT', 'DROP_FRAGMENT']);
    test.end();
  });

  t.test(`at egress fragments out of order are dropped (S-85), ${family}`, (test) => {
    bench.clearFlows();
    const own = (dst: string): Uint8Array =>
      pieces(ip(who.node, dst).udp({ sport: 40000, dport: 53 }).payload(100).bytes())[1] ?? new Uint8Array(0);
    test.equal(bench.run('out', own(who.vip), uplink).verdict, 'DROP_FRAGMENT');
    test.equal(bench.run('out', own(who.other), uplink).verdict, 'NOT_OURS');
    test.end();
  });
}

t.test('a partial UDP checksum stays partial in a first fragment (S-86)', (test) => {
  const [who] = bothFamilies as readonly [Addresses];
  const frame = ip(who.client, who.vip)
    .udp({ sport: 40001, dport: 53, checksum: 'none' })
    .payload(100)
    .bytes();
  const sent = pieces(frame).map((piece) => bench.run('in', piece, pod).packet);
  const text = `${end(who.client, 40001)} > ${end(who.one, 5353)} UDP len=100 udp-sum=0`;
  test.equal(show(join(sent) ?? frame), text);
  test.end();
});
