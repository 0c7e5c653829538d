// A connection from its first packet to its last, as each hook sees it: the output of one step is the input of the
// next.
//
//   client ──► [in] ──► backend          requests are translated where they enter the node,
//   client ◄── [out] ◄─ backend          replies where they leave it
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import type { ServiceSpec } from '../support/kernel/rows.ts';
import { Bench, type Hook } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { macs, show } from '../support/packet/dissect.ts';
import { tcpFlags } from '../support/packet/packet.ts';

t.setTimeout(120_000);
const bench = new Bench();
t.teardown(() => bench.close());

const web = (who: Addresses): ServiceSpec => ({
  address: who.vip,
  port: 80,
  protocol: 'tcp',
  backends: [{ address: who.one, port: 8080 }],
});
const dns = (who: Addresses): ServiceSpec => ({
  address: who.vip,
  port: 53,
  protocol: 'udp',
  backends: [{ address: who.one, port: 5353 }],
});

/** As a dissected packet writes them. */
const flagsInOrder = (flags: string): string =>
  Object.keys(tcpFlags)
    .filter((flag) => flags.includes(flag))
    .join('');

function step(test: Test, hook: Hook, packet: Uint8Array, verdict: string, text: string): Uint8Array {
  const outcome = bench.run(hook, packet);
  test.equal(outcome.verdict, verdict, `${verdict} of ${show(packet)}`);
  test.equal(show(outcome.packet), text);
  return outcome.packet;
}

const canForward = bench.canForward();

/** A packet that came in by another device meets the egress hook. */
function passesBy(test: Test, packet: Uint8Array, why: string): void {
  if (canForward) test.equal(bench.run('out', packet, { forwarded: true }).verdict, 'NOT_OURS', why);
  else test.pass(why, { skip: 'this kernel cannot test-run a forwarded packet' });
}

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  for (const entry of ['in', 'xdp'] as const) {
    t.test(`a TCP connection, ${family}, requests at ${entry}`, (test) => {
      bench.clearFlows();
      const service = bench.addService(web(who));
      const [backend = 0] = service.backendIds;
      const there = { sport: 40000, dport: 80 };
      const back = { sport: 8080, dport: 40000 };
      const request = `${end(who.client, 40000)} > ${end(who.one, 8080)}`;
      const reply = `${end(who.vip, 80)} > ${end(who.client, 40000)}`;
      const ask = (
        flags: string,
        seq: number,
        ack: number,
        verdict: string,
        body = '',
        hook: Hook = entry,
      ): void => {
        const packet = ip(who.client, who.vip)
          .tcp({ ...there, flags, seq, ack })
          .payload(body)
          .bytes();
        const order = flagsInOrder(flags);
        const text = `${request} TCP ${order} seq=${seq} ack=${ack} len=${body.length}`;
        const sent = step(test, hook, packet, verdict, text);
        // What the next hooks see of it is none of their business.
        step(test, 'in', sent, 'NOT_OURS', text);
        passesBy(test, sent, 'not translated twice');
      };
      const answer = (flags: string, seq: number, ack: number, verdict = 'REPLY', body = ''): void => {
        const packet = ip(who.one, who.client)
          .tcp({ ...back, flags, seq, ack })
          .payload(body)
          .bytes();
        const order = flagsInOrder(flags);
        test.equal(bench.run('in', packet).verdict, 'OTHER_HOOK', 'a reply waits for the egress hook');
        step(test, 'out', packet, verdict, `${reply} TCP ${order} seq=${seq} ack=${ack} len=${body.length}`);
      };
      const tables = (): string[] =>
        [...bench.flows(who.family).keys()].map((key) => key.split(' ')[0] ?? '').sort();

      ask('S', 100, 0, 'REQUEST_NEW');
      test.same(tables(), ['half', 'half'], 'both entries are half-open until the backend answers');
      ask('S', 100, 0, 'REQUEST');
      answer('SA', 500, 101);
      test.same(tables(), ['half', 'half'], 'and beyond: a forged SYN is answered, too');
      const confirmation = ip(who.client, who.vip)
        .tcp({ ...there, flags: 'A', seq: 101, ack: 501 })
        .bytes();
      if (entry === 'xdp')
        test.equal(bench.run('xdp', confirmation).verdict, 'LEFT_TO_TC', 'tc moves it to the other table');
      ask('A', 101, 501, 'REQUEST', '', 'in');
      test.same(tables(), ['flows', 'flows'], 'both are established when the client acknowledges the answer');
      ask('PA', 101, 501, 'REQUEST', 'GET /');
      answer('PA', 501, 106, 'REPLY', 'hello');
      ask('FA', 106, 506, 'REQUEST');
      answer('FA', 506, 107);
      ask('A', 107, 507, 'REQUEST');
      for (const flow of bench.flows(who.family).values()) {
        test.match(
          flow,
          { fin: 1, peerFin: 1, rst: 0, service: service.id, backend },
          'closed from both sides',
        );
      }
      const header = who.family === 4 ? 40n : 60n;
      const stats = {
        connections: 1n,
        packetsIn: 6n,
        bytesIn: 6n * header + 5n,
        packetsOut: 3n,
        bytesOut: 3n * header + 5n,
        refused: 0n,
        sockets: 0n,
      };
      test.same(bench.stats('slb_svc_stats', service.id), stats, 'counted for the service');
      test.same(bench.stats('slb_be_stats', backend), stats, 'and for the backend');
      test.end();
    });
  }

  t.test(`a UDP exchange, ${family}`, (test) => {
    bench.clearFlows();
    const service = bench.addService(dns(who));
    const query = ip(who.client, who.vip).udp({ sport: 40000, dport: 53 }).payload('who?').bytes();
    const answer = ip(who.one, who.client).udp({ sport: 5353, dport: 40000 }).payload('me').bytes();
    const request = `${end(who.client, 40000)} > ${end(who.one, 5353)} UDP len=4`;
    step(test, 'in', query, 'REQUEST_NEW', request);
    step(test, 'in', query, 'REQUEST', request);
    test.ok([...bench.flows(who.family).keys()].every((key) => key.startsWith('half')));
    step(test, 'out', answer, 'REPLY', `${end(who.vip, 53)} > ${end(who.client, 40000)} UDP len=2`);
    test.ok(
      [...bench.flows(who.family).keys()].every((key) => key.startsWith('half')),
      'a query and its answer are no stream',
    );
    step(test, 'in', query, 'REQUEST', request);
    test.ok(
      [...bench.flows(who.family).keys()].every((key) => key.startsWith('flows')),
      'a datagram after the answer makes one',
    );
    test.equal(bench.stats('slb_svc_stats', service.id).connections, 1n);
    test.end();
  });

  t.test(`a backend that connects to its own Service, ${family}`, (test) => {
    bench.clearFlows();
    bench.addService(web(who));
    const mac = { src: '02:00:00:00:00:02', dst: '02:00:00:00:00:01' };
    const hop = (packet: Uint8Array, text: string): void => {
      const outcome = bench.run('in', packet);
      test.equal(outcome.verdict, 'HAIRPIN');
      test.equal(outcome.action, 'redirect', 'sent back out of the device it came in by');
      test.equal(show(outcome.packet), text);
      test.same(macs(outcome.packet), { src: mac.dst, dst: mac.src }, 'with the ends of the frame exchanged');
      passesBy(test, outcome.packet, 'and not touched again');
    };
    const syn = ip(who.one, who.vip, {}, mac).tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 }).bytes();
    const synAck = ip(who.one, who.vip, {}, mac)
      .tcp({ sport: 8080, dport: 40000, flags: 'SA', seq: 7, ack: 2 })
      .bytes();
    const left = bench.run('xdp', syn);
    test.equal(left.verdict, 'LEFT_TO_TC', 'XDP leaves it alone');
    test.same([...bench.flows(who.family)], [], 'and notes nothing');
    hop(syn, `${end(who.vip, 40000)} > ${end(who.one, 8080)} TCP S seq=1 ack=0 len=0`);
    hop(synAck, `${end(who.vip, 80)} > ${end(who.one, 40000)} TCP SA seq=7 ack=2 len=0`);
    test.equal(bench.run('xdp', syn).verdict, 'LEFT_TO_TC', 'also once it is known');
    test.end();
  });

  t.test(`a connection of the node to itself, ${family}`, (test) => {
    // The backend is a process of the node: both directions leave the stack at egress, and go back in.
    bench.clearFlows();
    bench.addService(web(who));
    const syn = ip(who.one, who.vip).tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 }).bytes();
    const synAck = ip(who.one, who.vip)
      .tcp({ sport: 8080, dport: 40000, flags: 'SA', seq: 7, ack: 2 })
      .bytes();
    for (const [packet, text] of [
      [syn, `${end(who.vip, 40000)} > ${end(who.one, 8080)} TCP S seq=1 ack=0 len=0`],
      [synAck, `${end(who.vip, 80)} > ${end(who.one, 40000)} TCP SA seq=7 ack=2 len=0`],
    ] as const) {
      test.equal(bench.run('out', packet).action, 'redirect');
      test.equal(show(step(test, 'out', packet, 'HAIRPIN', text)), text);
    }
    test.end();
  });

  t.test(`a connection of the node itself, ${family}`, (test) => {
    bench.clearFlows();
    bench.addService(web(who));
    const syn = ip(who.router, who.vip).tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 }).bytes();
    const synAck = ip(who.one, who.router)
      .tcp({ sport: 8080, dport: 40000, flags: 'SA', seq: 7, ack: 2 })
      .bytes();
    passesBy(test, syn, 'a forwarded packet is no request here');
    const request = `${end(who.router, 40000)} > ${end(who.one, 8080)} TCP S seq=1 ack=0 len=0`;
    step(test, 'out', syn, 'REQUEST_NEW', request);
    test.equal(bench.run('out', synAck).verdict, 'OTHER_HOOK');
    test.equal(bench.run('xdp', synAck).verdict, 'LEFT_TO_TC', 'replies are left to tc');
    step(
      test,
      'in',
      synAck,
      'REPLY',
      `${end(who.vip, 80)} > ${end(who.router, 40000)} TCP SA seq=7 ack=2 len=0`,
    );
    test.end();
  });

  t.test(`checksums, ${family}`, (test) => {
    bench.clearFlows();
    bench.addService(web(who));
    bench.addService(dns(who));
    const tcp = (fields: object): Uint8Array =>
      ip(who.client, who.vip)
        .tcp({ sport: 40000, dport: 80, flags: 'S', ...fields })
        .payload(33)
        .bytes();
    const partial = bench.run('xdp', tcp({ checksum: 'partial' }));
    test.equal(partial.verdict, 'LEFT_TO_TC', 'XDP cannot keep a checksum unfinished');
    test.same(partial.packet, tcp({ checksum: 'partial' }), 'and leaves the packet as it is');
    test.same([...bench.flows(who.family)], [], 'and notes nothing');
    bench.run('xdp', tcp({}));
    test.equal(
      bench.run('xdp', tcp({ checksum: 'partial' })).verdict,
      'LEFT_TO_TC',
      'nor once the flow is known',
    );
    // Sums of odd length, and all values of one field, so that carries and the two zeros of one's complement are met.
    const bodies = Array.from({ length: 300 }, (_, i) => i * 211);
    for (const hook of ['in', 'xdp'] as const) {
      const texts = bodies.map((seq) => show(bench.run(hook, tcp({ seq })).packet));
      test.same(
        texts.filter((text) => text.includes('sum')),
        [],
        `right at ${hook}`,
      );
    }
    // The kernel itself compares skb->csum with the bytes after the program has run (CHECKSUM_COMPLETE).
    const complete = 1 << 2;
    const data = tcp({});
    try {
      const result = bench.program('in').testRun({ data, outSize: data.length, flags: complete });
      test.notMatch(show(result.data), /sum/, 'and skb->csum goes along');
    } catch (error) {
      // EBADMSG is the answer when skb->csum is wrong; EINVAL that of a kernel that cannot be asked.
      if ((error as { code?: string }).code !== 'EINVAL') throw error;
      test.pass('this kernel cannot test CHECKSUM_COMPLETE');
    }
    test.end();
  });
}

t.test('a UDP checksum of 0 means none, and stays 0 (S-86), IPv4', (test) => {
  const [who] = bothFamilies;
  if (who === undefined) throw new Error('no addresses');
  bench.clearFlows();
  bench.addService(dns(who));
  for (const hook of ['in', 'xdp'] as const) {
    const packet = ip(who.client, who.vip)
      .udp({ sport: 40000, dport: 53, checksum: 'none' })
      .payload('who?')
      .bytes();
    const text = `${end(who.client, 40000)} > ${end(who.one, 5353)} UDP len=4 udp-sum=0`;
    step(test, hook, packet, hook === 'in' ? 'REQUEST_NEW' : 'REQUEST', text);
  }
  test.end();
});
