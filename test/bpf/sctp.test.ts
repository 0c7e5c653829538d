// SCTP: translation of ports and CRC32c, states of associations, and ICMP errors (S-86).
import '../support/run/alone.ts';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { testConfig, type Outcome } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { crc32c } from '../support/packet/crc32c.ts';
import { show } from '../support/packet/dissect.ts';
import { cut } from '../support/packet/fragments.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import type { SctpFields } from '../support/packet/packet.ts';

const { bench, pod, uplink } = benchOnNode(t);

const chunks = { data: 0, init: 1, initAck: 2, abort: 6, shutdown: 7, shutdownAck: 8, complete: 14 } as const;
type Chunk = keyof typeof chunks;
type More = Partial<SctpFields> & { readonly payload?: number; readonly options?: object };

function packet(
  src: string,
  sport: number,
  dst: string,
  dport: number,
  chunk: Chunk,
  more: More = {},
): Uint8Array {
  const { payload = 20, options = {}, ...fields } = more;
  return ip(src, dst, options)
    .sctp({ sport, dport, chunk: chunks[chunk], ...fields })
    .payload(payload)
    .bytes();
}
const request = (who: Addresses, chunk: Chunk, more: More = {}): Uint8Array =>
  packet(who.client, 40000, who.vip, 3868, chunk, more);
const reply = (who: Addresses, chunk: Chunk, more: More = {}): Uint8Array =>
  packet(who.one, 13868, who.client, 40000, chunk, more);
const toBackend = (who: Addresses): string => `${end(who.client, 40000)} > ${end(who.one, 13868)} SCTP`;
const toClient = (who: Addresses): string => `${end(who.vip, 3868)} > ${end(who.client, 40000)} SCTP`;

const ask = (who: Addresses, chunk: Chunk, more?: More): Outcome =>
  bench.run('in', request(who, chunk, more), pod);
const answer = (who: Addresses, chunk: Chunk, more?: More): Outcome =>
  bench.run('out', reply(who, chunk, more), { ...pod, forwarded: true });

t.test('CRC32c constants for lengths that a test run cannot carry (S-86)', (test) => {
  const source = readFileSync(new URL('../../bpf/lib/crc32c.h', import.meta.url), 'utf8');
  const powers = [...source.matchAll(/0x[0-9a-f]{8}(?=,)/g)].map(([text]) => Number(text));
  test.equal(powers.length, 16);
  // The checksums of 2^i zeros and of the same with x^0 in the first four bytes differ by x^0 · x^(8 · 2^i).
  powers.slice(2).forEach((power, i) => {
    const message = new Uint8Array(2 ** (i + 2));
    const zeros = crc32c(message);
    message[3] = 0x80;
    test.equal((crc32c(message) ^ zeros) >>> 0, power, `x^(8 · ${message.length})`);
  });
  test.end();
});

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  const backends = [{ address: who.one, port: 13868 }];
  bench.addService({ address: who.vip, port: 3868, protocol: 'sctp', backends });
  bench.addService({ address: who.vip2, port: 13868, protocol: 'sctp', backends });
  bench.addService({ address: who.empty, port: 3868, protocol: 'sctp', backends: [] });

  t.test(`an association, from INIT to SHUTDOWN COMPLETE (S-86), ${family}`, (test) => {
    bench.clearFlows();
    const both = (outcome: Outcome): string => `${outcome.verdict} ${show(outcome.packet)}`;
    test.equal(both(ask(who, 'init')), `REQUEST_NEW ${toBackend(who)} chunk=1 len=20`);
    test.equal(both(answer(who, 'initAck')), `REPLY ${toClient(who)} chunk=2 len=20`);
    test.equal(both(ask(who, 'data')), `REQUEST ${toBackend(who)} chunk=0 len=20`);
    test.equal(both(ask(who, 'shutdown')), `REQUEST ${toBackend(who)} chunk=7 len=20`);
    bench.age(testConfig.tcpIdleSec - 1);
    test.equal(ask(who, 'data').verdict, 'REQUEST_RESUMED', 'half closed it does not live as long as idle');
    bench.clearFlows();
    ask(who, 'init');
    ask(who, 'shutdown');
    answer(who, 'shutdownAck');
    ask(who, 'complete');
    bench.age(testConfig.tcpClosedSec + 1);
    test.equal(answer(who, 'data').verdict, 'NOT_OURS', 'ended');
    test.equal(ask(who, 'init').verdict, 'REQUEST_NEW', 'and opened again from the same port');
    answer(who, 'abort');
    bench.age(testConfig.tcpClosedSec + 1);
    test.equal(answer(who, 'data').verdict, 'NOT_OURS', 'aborted');
    test.equal(ask(who, 'abort').verdict, 'DROP_NO_FLOW', 'what ends an association opens none');
    test.equal(ask(who, 'initAck').verdict, 'DROP_NO_FLOW');
    test.end();
  });

  t.test(`the CRC32c is right for every length (S-86), ${family}`, (test) => {
    bench.clearFlows();
    const lengths = [...Array(70).keys(), 255, 256, 257, 1000, 1452, 2047, 2048, 3400];
    for (const payload of lengths) {
      test.equal(show(ask(who, 'data', { payload }).packet), `${toBackend(who)} chunk=0 len=${payload}`);
      test.equal(show(answer(who, 'data', { payload }).packet), `${toClient(who)} chunk=0 len=${payload}`);
    }
    test.end();
  });

  t.test(`a missing checksum stays missing, a wrong one stays wrong (S-86), ${family}`, (test) => {
    bench.clearFlows();
    test.match(show(ask(who, 'init', { checksum: 'partial' }).packet), / sctp-sum~$/, 'a device finishes it');
    test.match(show(ask(who, 'data', { checksum: 0x12345678 }).packet), / sctp-sum!$/);
    const same = packet(who.client, 40000, who.vip2, 13868, 'init');
    test.notMatch(show(bench.run('in', same, pod).packet), /sctp-sum/, 'when no port changes it need not');
    test.end();
  });

  t.test(`SCTP behind IP options, extension headers and VLAN tags (S-87), ${family}`, (test) => {
    const rows =
      who.family === 4
        ? [{ options: { options: new Uint8Array(40).fill(1) }, note: ' options=40' }]
        : [{ options: { extensions: [{ type: 0 }, { type: 60 }] }, note: ' ext=0 ext=60' }];
    for (const { options, note } of rows) {
      bench.clearFlows();
      const { packet: sent } = ask(who, 'init', { options });
      test.equal(show(sent), `${toBackend(who)} chunk=1 len=20${note}`);
    }
    const plain = request(who, 'data');
    const tagged = Uint8Array.from([
      ...plain.subarray(0, 12),
      0x88,
      0xa8,
      0,
      5,
      0x81,
      0,
      0,
      6,
      ...plain.subarray(12),
    ]);
    test.equal(show(bench.run('in', tagged, pod).packet), `vlan=5 vlan=6 ${toBackend(who)} chunk=0 len=20`);
    test.end();
  });

  t.test(`a truncated SCTP packet is malformed, ${family}`, (test) => {
    const whole = request(who, 'init', { payload: 0 });
    for (let missing = 1; missing <= 16; missing++) {
      for (const hook of ['in', 'xdp'] as const)
        test.equal(bench.run(hook, whole.subarray(0, -missing), pod).verdict, 'DROP_MALFORMED');
    }
    const short = request(who, 'data', { options: { length: who.family === 4 ? 35 : 15 } });
    test.equal(bench.run('in', short, pod).verdict, 'DROP_MALFORMED', 'by its own account');
    test.end();
  });

  t.test(`no endpoint: ICMP port unreachable (S-43, S-86), ${family}`, (test) => {
    const { verdict, packet: sent } = bench.run(
      'in',
      packet(who.client, 40000, who.empty, 3868, 'init'),
      pod,
    );
    test.equal(verdict, 'REFUSED_UNREACHABLE');
    const icmp = who.family === 4 ? 'ICMP 3/3' : 'ICMP 1/4';
    const quoted = `${end(who.client, 40000)} > ${end(who.empty, 3868)} SCTP chunk=1 len=20`;
    test.equal(show(sent), `${who.empty} > ${who.client} ${icmp} { ${quoted} }`);
    test.end();
  });

  t.test(`ICMP errors about SCTP reach the sender (S-84, S-86), ${family}`, (test) => {
    bench.clearFlows();
    ask(who, 'init');
    answer(who, 'initAck');
    const quotes = {
      request: packet(who.client, 40000, who.one, 13868, 'data').subarray(14),
      reply: packet(who.vip, 3868, who.client, 40000, 'data').subarray(14),
    };
    const header = who.family === 4 ? 20 : 40;
    const error = (dst: string, quote: Uint8Array): Uint8Array =>
      ip(who.router, dst)
        .icmp({ type: who.family === 4 ? 3 : 1 })
        .payload(quote)
        .bytes();
    for (const length of [8, 16, 36]) {
      const toServer = bench.run('in', error(who.vip, quotes.reply.subarray(0, header + length)), pod);
      test.equal(toServer.verdict, 'ICMP_REQUEST');
      test.match(show(toServer.packet), `{ ${end(who.one, 13868)} > ${end(who.client, 40000)} SCTP`);
      const asked = error(who.client, quotes.request.subarray(0, header + length));
      const toDialler = bench.run('out', asked, { ...pod, forwarded: true });
      test.equal(toDialler.verdict, 'ICMP_REPLY');
      test.match(show(toDialler.packet), `{ ${end(who.client, 40000)} > ${end(who.vip, 3868)} SCTP`);
      for (const { packet: sent } of [toServer, toDialler]) test.notMatch(show(sent), /icmp-sum|ip-sum/);
    }
    test.end();
  });

  t.test(
    `XDP translates packets with a complete checksum and leaves the rest to tc (S-86), ${family}`,
    (test) => {
      const local = [{ address: who.one, port: 13868 }];
      bench.addService({
        ...{ address: who.external, port: 3868, kind: 'external', protocol: 'sctp' },
        ...{ backends: local, local: ['external'] },
      });
      const init = (checksum: SctpFields['checksum']): Uint8Array =>
        packet(who.client, 40001, who.external, 3868, 'init', checksum === undefined ? {} : { checksum });
      test.equal(bench.run('xdp', init('partial'), uplink).verdict, 'LEFT_TO_TC');
      const sent = bench.run('xdp', init(undefined), uplink);
      test.equal(sent.verdict, 'REQUEST_NEW');
      test.equal(show(sent.packet), `${end(who.client, 40001)} > ${end(who.one, 13868)} SCTP chunk=1 len=20`);
      test.end();
    },
  );

  t.test(`SCTP fragments follow the first one when ports do not change (S-85, S-86), ${family}`, (test) => {
    bench.clearFlows();
    const sent = cut(packet(who.client, 40000, who.vip2, 13868, 'data', { payload: 100 }), 48, 7);
    test.same(
      sent.map((piece) => bench.run('in', piece, pod).verdict),
      ['REQUEST_RESUMED', 'REQUEST', 'REQUEST'],
    );
    const changed = cut(request(who, 'data', { payload: 100 }), 48, 8);
    const [first = new Uint8Array(0)] = changed;
    test.equal(
      bench.run('in', first, pod).verdict,
      'DROP_FRAGMENT',
      'without the last fragment the length is not known',
    );
    test.end();
  });
}
