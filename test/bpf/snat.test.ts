// Connections whose backend sees an address of this node (S-64), or another source port (S-68): translated once at
// ingress, forwarded by the routing table, and the reply the same way back.
//
//   client ──► [in, up0] ──► backend of this node or of another       the packet never meets the stack
//   client ◄── [in, pod0 or up0] ◄── backend
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import { slbFlowFlags, slbLimits, slbForward } from '../../src/abi/layout.gen.ts';
import type { ServiceSpec } from '../support/kernel/rows.ts';
import { Bench, testConfig, type Hook, type Outcome } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { buildNode, choosesSource, describeNode } from '../support/kernel/node.ts';
import type { Builder } from '../support/packet/packet.ts';
import { answer, ask, endsOf, numbersOf, portOf, transports } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const devices = buildNode();
const bench = new Bench({ config: { hz: 2_500 } }); // ten times slower: on a busy machine a second's share would come again meanwhile
const narrow = new Bench({ config: { snatPortMin: 61000, snatPortMax: 61000 } });
for (const each of [bench, narrow]) {
  t.teardown(() => each.close());
  describeNode(each, devices);
}

const up = { ifindex: devices.uplink };
const pod = { ifindex: devices.pod };
const lo = { ifindex: devices.lo };

/** Behind which device a backend is, and what that one has for an address. */
const places = (who: Addresses) => [
  { what: 'a pod of this node', backend: who.one, node: who.gateway, at: pod },
  { what: 'a pod of another node', backend: who.far, node: who.node, at: up },
];

let ports = 1000;
const spec = (who: Addresses, backend: string, more: Partial<ServiceSpec> = {}): ServiceSpec => ({
  kind: 'external',
  address: who.external,
  port: ++ports,
  protocol: 'tcp',
  backends: [{ address: backend, port: 8080 }],
  ...more,
});

function added(service: ServiceSpec): ServiceSpec {
  bench.addService(service);
  return service;
}

/** One packet, and what is to become of it. */
function step(
  test: Test,
  hook: Hook,
  packet: Uint8Array,
  at: { ifindex: number },
  expected: string,
): Outcome {
  const outcome = bench.run(hook, packet, at);
  const { source, target } = endsOf(outcome.packet);
  test.equal(`${outcome.verdict} ${outcome.action}: ${source} > ${target}`, expected, show(packet));
  test.notMatch(show(outcome.packet), /sum/, 'every checksum is right');
  return outcome;
}

/** TTL or hop limit. */
const lifeOf = (packet: Uint8Array): number => packet[(packet[12] ?? 0) === 8 ? 22 : 21] ?? 0;

for (const who of bothFamilies) {
  for (const protocol of transports) {
    const title = `IPv${who.family}, ${protocol}`;
    const dial = (service: ServiceSpec, sport = 40000, from = who.client, flags = 'S'): Uint8Array =>
      ask(from, service.address, service.port, { protocol, sport, flags });

    t.test(`a masqueraded connection, in both directions (S-64, S-68), ${title}`, (test) => {
      for (const { what, backend, node, at } of places(who)) {
        bench.clearFlows();
        const service = spec(who, backend, { protocol });
        const { id } = bench.addService(service);
        const there = `${end(node, 40000)} > ${end(backend, 8080)}`;
        const back = `${end(who.external, service.port)} > ${end(who.client, 40000)}`;
        const first = step(test, 'in', dial(service), up, `REQUEST_NEW redirect: ${there}`);
        test.equal(lifeOf(first.packet), 63, `${what}: it has been forwarded`);
        step(test, 'in', dial(service), up, `REQUEST redirect: ${there}`);
        test.equal(bench.run('xdp', dial(service, 40000, who.client, 'A'), {}).verdict, 'LEFT_TO_TC');
        test.equal(
          bench.run('out', first.packet, at).verdict,
          'NOT_OURS',
          'not touched again where it leaves',
        );
        const reply = answer(backend, 8080, node, 40000, protocol);
        test.equal(bench.run('out', reply, at).verdict, 'OTHER_HOOK');
        const second = step(test, 'in', reply, at, `REPLY redirect: ${back}`);
        test.equal(lifeOf(second.packet), 63);
        test.equal(bench.run('out', second.packet, up).verdict, 'NOT_OURS');
        step(test, 'in', dial(service, 40000, who.client, 'A'), up, `REQUEST redirect: ${there}`);
        const stats = bench.stats('slb_svc_stats', id);
        test.match(stats, { connections: 1n, packetsIn: 3n, packetsOut: 1n, refused: 0n });
        const flows = [...bench.flows(who.family)];
        test.equal(flows.length, 2);
        test.ok(
          flows.every(([key]) => key.startsWith('flows')),
          'confirmed: both are established',
        );
        test.ok(
          flows.every(
            ([, flow]) =>
              (flow.flags & slbFlowFlags.FLOW_MASQUERADED) !== 0 && flow.forward === slbForward.FORWARD_FIB,
          ),
        );
      }
      test.end();
    });

    t.test(`two clients with one port, two services with one backend (S-68), ${title}`, (test) => {
      bench.clearFlows();
      const one = added(spec(who, who.one, { protocol }));
      const two = added(spec(who, who.one, { protocol }));
      const dials = [
        { packet: dial(one), client: who.client, service: one },
        { packet: dial(one, 40000, who.other), client: who.other, service: one },
        { packet: dial(two), client: who.client, service: two },
        { packet: dial(two, 40000, who.other), client: who.other, service: two },
      ];
      const before = bench.counters().SNAT_PORT_TAKEN;
      const sources = dials.map(({ packet }) => endsOf(bench.run('in', packet, up).packet).source);
      test.equal(sources[0], end(who.gateway, 40000), 'the first keeps its port');
      test.equal(new Set(sources).size, 4, 'each of the others has one of its own');
      for (const source of sources.slice(1)) {
        const port = portOf(source);
        test.ok(port >= testConfig.snatPortMin && port <= testConfig.snatPortMax, source);
      }
      test.ok(bench.counters().SNAT_PORT_TAKEN - before >= 3n, 'counted');
      dials.forEach(({ client, service }, i) => {
        const reply = answer(who.one, 8080, who.gateway, portOf(sources[i] ?? ''), protocol);
        step(
          test,
          'in',
          reply,
          pod,
          `REPLY redirect: ${end(who.external, service.port)} > ${end(client, 40000)}`,
        );
      });
      test.same(
        dials.map(({ packet }) => endsOf(bench.run('in', packet, up).packet).source),
        sources,
        'and keeps it',
      );
      test.end();
    });

    t.test(`no source port is free (S-68), ${title}`, (test) => {
      narrow.clearFlows();
      const service = spec(who, who.one, { protocol });
      const { id } = narrow.addService(service);
      const clients = [who.client, who.other, who.two];
      const before = narrow.counters().SNAT_PORT_TAKEN;
      const verdicts = clients.map((client) => narrow.run('in', dial(service, 40000, client), up));
      test.same(
        verdicts.map(({ verdict }) => verdict),
        ['REQUEST_NEW', 'REQUEST_NEW', 'DROP_NO_PORT'],
      );
      test.equal(verdicts[2]?.action, 'shot');
      test.same(verdicts[2]?.packet, dial(service, 40000, who.two), 'and stays as it came');
      test.equal(
        narrow.counters().SNAT_PORT_TAKEN - before,
        1n + BigInt(slbLimits.SNAT_ATTEMPTS),
        'the search ends',
      );
      test.equal(narrow.flows(who.family).size, 4, 'nothing is left behind');
      test.equal(narrow.stats('slb_svc_stats', id).refused, 1n);
      test.equal(
        narrow.run('in', dial(service, 40001, who.two), up).verdict,
        'REQUEST_NEW',
        'another port is free',
      );
      test.end();
    });

    t.test(`no route to the backend, ${title}`, (test) => {
      const lost = added(spec(who, who.family === 4 ? '10.3.0.1' : 'fd03::1', { protocol }));
      const outcome = bench.run('in', dial(lost), up);
      test.equal(outcome.verdict, 'DROP_NO_ROUTE');
      test.same(outcome.packet, dial(lost));
      bench.addDevice(devices.pod, { role: 'pod' });
      const nameless = added(spec(who, who.one, { protocol }));
      if (!choosesSource())
        test.equal(
          bench.run('in', dial(nameless), up).verdict,
          'DROP_NO_ROUTE',
          'the device has no address to send from',
        );
      describeNode(bench, devices);
      test.equal(bench.run('in', dial(nameless), up).verdict, 'REQUEST_NEW');
      test.end();
    });

    t.test(`the TTL or hop limit is exceeded (RFC 791), ${title}`, (test) => {
      bench.clearFlows();
      const service = added(spec(who, who.one, { protocol }));
      const aged = (packet: Uint8Array, left: number): Uint8Array => {
        const body = who.family === 4 ? packet.slice(34) : packet.slice(54);
        const [from, to] = [endsOf(packet).source, endsOf(packet).target].map((text) =>
          text.replace(/:\d+$|[[\]]/g, '').replace(/\]:\d+$/, ''),
        );
        const built = ip(from ?? '', to ?? '', {
          ttl: left,
          hops: left,
          protocol: protocol === 'tcp' ? 6 : 17,
        }).payload(body);
        return built.bytes();
      };
      // S-84: the error comes from this node's address on the side of the sender, and quotes what that sent.
      const answered = (packet: Uint8Array, at: { ifindex: number }, node: string, sender: string): void => {
        bench.fillBucket();
        const outcome = bench.run('in', packet, at);
        test.match(outcome, { verdict: 'REFUSED_TTL', action: 'redirect' });
        const text = show(outcome.packet);
        test.ok(text.startsWith(`${node} > ${sender} ICMP ${who.family === 4 ? '11/0' : '3/0'} { `), text);
        test.notMatch(text, /sum/);
        const quote = outcome.packet.subarray(14 + (who.family === 4 ? 20 : 40) + 8);
        test.same(quote, packet.subarray(14, 14 + quote.length), 'quotes the packet as it came');
      };
      for (const left of [1, 0]) {
        bench.clearFlows();
        answered(aged(dial(service), left), up, who.node, who.client); // opens it
        answered(aged(dial(service), left), up, who.node, who.client);
      }
      const last = step(
        test,
        'in',
        aged(dial(service), 2),
        up,
        `REQUEST redirect: ${end(who.gateway, 40000)} > ${end(who.one, 8080)}`,
      );
      test.equal(lifeOf(last.packet), 1);
      for (const left of [1, 0])
        answered(aged(answer(who.one, 8080, who.gateway, 40000, protocol), left), pod, who.gateway, who.one);
      const flood = Array.from({ length: 1000 }, () => bench.run('in', aged(dial(service), 1), up).verdict);
      test.same(new Set(flood), new Set(['REFUSED_TTL', 'DROP_TTL']), 'answers are limited in rate');
      test.ok(flood.filter((verdict) => verdict === 'REFUSED_TTL').length < 600);
      test.end();
    });

    /** A packet of so many bytes from the IP header on. */
    const sized = (
      from: string,
      to: string,
      ports: { sport: number; dport: number },
      size: number,
      options: object,
      flags = 'A',
    ): Builder => {
      const packet = ip(from, to, options);
      const header = (who.family === 4 ? 20 : 40) + (protocol === 'tcp' ? 20 : 8);
      return (protocol === 'tcp' ? packet.tcp({ ...ports, flags }) : packet.udp(ports)).payload(
        size - header,
      );
    };
    const tight = who.family === 4 ? '10.4.0.1' : 'fd04::1'; // behind a way of 1280 bytes

    t.test(`a packet larger than the path MTU that must not be fragmented (S-84), ${title}`, (test) => {
      const service = added(spec(who, tight, { protocol }));
      const fields = { sport: 40000, dport: service.port };
      for (const [what, before] of [
        ['of a connection', 'S'],
        ['the first of a connection, or one whose flow is lost', undefined],
      ] as const) {
        for (const size of [1280, 1281, 1282, 1500, 2000]) {
          bench.clearFlows();
          if (before !== undefined) bench.run('in', dial(service), up);
          const large = sized(who.client, who.external, fields, size, { dontFragment: true });
          const outcome = bench.run('in', large.bytes(), up);
          const title = `${String(size)} bytes, ${what}`;
          if (size === 1280) {
            test.match(outcome, { verdict: /^REQUEST/, action: 'redirect' }, title);
            continue;
          }
          test.match(outcome, { verdict: 'REFUSED_TOO_BIG', action: 'redirect' }, title);
          const text = show(outcome.packet);
          const type = who.family === 4 ? 'ICMP 3/4' : 'ICMP 2/0';
          test.ok(text.startsWith(`${who.external} > ${who.client} ${type} rest=1280 { `), text);
          test.notMatch(text, /sum/);
          const at = 14 + (who.family === 4 ? 20 : 40) + 8;
          const quote = outcome.packet.subarray(at);
          test.same(quote, large.ip().subarray(0, quote.length), 'quotes the packet as it came');
          const small = bench.run('in', sized(who.client, who.external, fields, 1000, {}).bytes(), up);
          test.match(small, { verdict: 'REQUEST', action: 'redirect' }, 'a smaller one goes on');
          test.equal(endsOf(small.packet).source, end(who.node, 40000), 'from an address of this node');
        }
      }
      test.end();
    });

    t.test(`a packet of this host larger than the path MTU (S-52, S-84), ${title}`, (test) => {
      const service = added(spec(who, tight, { protocol }));
      const fields = { sport: 40000, dport: service.port };
      for (const dontFragment of who.family === 4 ? [true, false] : [true]) {
        bench.clearFlows();
        const large = sized(who.node, who.external, fields, 1281, { dontFragment }, 'S');
        const outcome = bench.run('out', large.bytes(), up);
        if (dontFragment) {
          test.match(outcome, { verdict: 'REFUSED_TOO_BIG', action: 'redirect' });
          test.match(show(outcome.packet), / rest=1280 /);
        } else {
          test.match(
            outcome,
            { verdict: 'REQUEST_NEW', action: 'redirect' },
            'for the stack to fragment, in by lo',
          );
          test.equal(endsOf(outcome.packet).target, end(tight, 8080));
          test.equal(
            bench.run('out', outcome.packet, { ...up, forwarded: true }).verdict,
            'NOT_OURS',
            'left alone where it leaves',
          );
        }
        for (const size of [500, 1280]) {
          const small = bench.run(
            'out',
            sized(who.node, who.external, fields, size, { dontFragment }).bytes(),
            up,
          );
          test.match(small, { verdict: 'REQUEST', action: 'redirect' }, 'a smaller one goes on');
          test.equal(
            `${endsOf(small.packet).source} > ${endsOf(small.packet).target}`,
            `${end(who.node, 40000)} > ${end(tight, 8080)}`,
          );
        }
      }
      test.end();
    });

    if (who.family === 4)
      t.test(
        `a packet larger than the path MTU that may be fragmented: the stack fragments it (S-84, S-85), ${title}`,
        (test) => {
          const service = added(spec(who, tight, { protocol }));
          const fields = { sport: 40000, dport: service.port };
          const forwarded = { ...up, forwarded: true };
          for (const before of [true, false]) {
            bench.clearFlows();
            if (before) bench.run('in', dial(service), up);
            const large = sized(who.client, who.external, fields, 1281, {});
            const half = bench.run('in', large.bytes(), up);
            test.match(half, { verdict: /^REQUEST/, action: 'next' });
            test.equal(
              show(half.packet),
              show(sized(who.client, tight, { sport: 40000, dport: 8080 }, 1281, {}).bytes()),
              'with its own source',
            );
            const whole = step(
              test,
              'out',
              half.packet,
              forwarded,
              `FRAGMENTED next: ${end(who.node, 40000)} > ${end(tight, 8080)}`,
            );
            test.equal(
              show(whole.packet),
              show(sized(who.node, tight, { sport: 40000, dport: 8080 }, 1281, {}).bytes()),
            );
            const small = bench.run('in', sized(who.client, who.external, fields, 1280, {}).bytes(), up);
            test.match(small, { verdict: 'REQUEST', action: 'redirect' }, 'the others go past it, as before');
          }
          const answered = sized(tight, who.node, { sport: 8080, dport: 40000 }, 1400, {});
          test.match(
            bench.run('in', answered.bytes(), up),
            { verdict: 'REPLY', action: 'redirect' },
            'the way back is wide',
          );
          const own = sized(who.client, tight, { sport: 40000, dport: 8080 }, 1200, {});
          test.match(
            bench.run('out', own.bytes(), up).verdict,
            'NOT_OURS',
            'what was not forwarded by us is left alone',
          );
          bench.ageSplits(3);
          test.equal(
            bench.run('out', ip(who.client, tight).tcp({ sport: 40000, dport: 8080 }).bytes(), forwarded)
              .verdict,
            'NOT_OURS',
            'and after a while everything is',
          );
          test.end();
        },
      );

    if (who.family === 4)
      t.test(`fragments larger than the path MTU (S-85), ${title}`, (test) => {
        bench.clearAll();
        const service = added(spec(who, tight, { protocol }));
        const fields = { sport: 40000, dport: service.port };
        const forwarded = { ...up, forwarded: true };
        bench.run('in', dial(service), up);
        const first = sized(who.client, who.external, fields, 1500, { id: 7, more: true });
        const later = ip(who.client, who.external, {
          id: 7,
          fragment: 1480,
          protocol: protocol === 'tcp' ? 6 : 17,
        }).payload(40);
        const one = bench.run('in', first.bytes(), up);
        const two = bench.run('in', later.bytes(), up);
        test.match(one, { verdict: 'REQUEST', action: 'next' });
        test.match(
          two,
          { verdict: 'REQUEST', action: 'next' },
          'a small one goes by the stack too: it may put them together',
        );
        for (const { packet } of [one, two]) {
          const left = bench.run('out', packet, forwarded);
          test.match(left, { verdict: 'FRAGMENTED', action: 'next' });
          test.ok(show(left.packet).startsWith(who.node), show(left.packet));
          test.ok(show(left.packet).includes(tight), show(left.packet));
        }
        const next = ip(who.client, who.external, {
          id: 8,
          fragment: 1480,
          protocol: protocol === 'tcp' ? 6 : 17,
        }).payload(40);
        bench.run('in', sized(who.client, who.external, fields, 1000, { id: 8, more: true }).bytes(), up);
        test.match(
          bench.run('in', next.bytes(), up),
          { verdict: 'REQUEST', action: 'redirect' },
          'another datagram as usual',
        );
        test.end();
      });

    t.test(`a backend that connects to its own Service (S-66), ${title}`, (test) => {
      bench.clearFlows();
      const service = added(spec(who, who.one, { protocol }));
      step(
        test,
        'in',
        dial(service, 40000, who.one),
        pod,
        `REQUEST_NEW redirect: ${end(who.gateway, 40000)} > ${end(who.one, 8080)}`,
      );
      const reply = answer(who.one, 8080, who.gateway, 40000, protocol);
      step(
        test,
        'in',
        reply,
        pod,
        `REPLY redirect: ${end(who.external, service.port)} > ${end(who.one, 40000)}`,
      );
      const local = added(spec(who, who.one, { protocol, local: ['external'] }));
      const kept = bench.run('in', dial(local, 40001, who.one), pod);
      test.equal(kept.verdict, 'HAIRPIN', 'unmasqueraded it sees the service address');
      test.equal(endsOf(kept.packet).source, end(who.external, 40001));
      test.end();
    });

    t.test(`a backend on this very host sees the client (S-41), ${title}`, (test) => {
      bench.clearFlows();
      const service = added(spec(who, who.node, { protocol }));
      step(
        test,
        'in',
        dial(service),
        up,
        `REQUEST_NEW next: ${end(who.client, 40000)} > ${end(who.node, 8080)}`,
      );
      const reply = answer(who.node, 8080, who.client, 40000, protocol);
      step(
        test,
        'out',
        reply,
        up,
        `REPLY next: ${end(who.external, service.port)} > ${end(who.client, 40000)}`,
      );
      test.end();
    });

    t.test(`this host's own connections (S-52, S-53, S-67), ${title}`, (test) => {
      for (const { what, backend, node, at } of places(who)) {
        for (const [from, source, device] of [
          [who.node, who.node, up],
          [who.node, who.node, lo],
          [who.loopback, node, lo],
        ] as const) {
          bench.clearFlows();
          const service = added(
            spec(who, backend, { protocol, kind: 'node', address: device === lo ? from : who.external }),
          );
          if (device === up)
            bench.addFrontend(
              bench.addService(service).id,
              { kind: 'external', address: who.external, port: service.port },
              protocol,
            );
          const request = step(
            test,
            'out',
            dial(service, 40000, from),
            device,
            `REQUEST_NEW redirect: ${end(source, 40000)} > ${end(backend, 8080)}`,
          );
          test.equal(
            lifeOf(request.packet),
            64,
            `${what}, ${from}: what it sends itself has not been forwarded`,
          );
          const reply = answer(backend, 8080, source, 40000, protocol);
          const back = `REPLY redirect: ${end(service.address, service.port)} > ${end(from, 40000)}`;
          const injected = step(test, 'in', reply, at, back);
          const again = bench.run('in', injected.packet, device);
          test.equal(again.verdict, 'NOT_OURS', 'which the hook of that device lets in');
        }
      }
      test.end();
    });

    t.test(`this host to itself (S-41), ${title}`, (test) => {
      for (const [device, action] of [
        [lo, 'next'],
        [up, 'redirect'],
      ] as const) {
        bench.clearFlows();
        const service = added(spec(who, who.node, { protocol }));
        step(
          test,
          'out',
          dial(service, 40000, who.node),
          device,
          `REQUEST_NEW ${action}: ${end(who.node, 40000)} > ${end(who.node, 8080)}`,
        );
        const reply = answer(who.node, 8080, who.node, 40000, protocol);
        step(
          test,
          'out',
          reply,
          lo,
          `REPLY ${action}: ${end(who.external, service.port)} > ${end(who.node, 40000)}`,
        );
      }
      test.end();
    });
  }

  const title = `IPv${who.family}`;

  t.test(`the port of a closing connection is not given to another (S-68, S-89), ${title}`, (test) => {
    for (const [what, side] of [
      ['the client has closed its end', 'ask'],
      ['the backend has closed its end', 'answer'],
    ] as const) {
      bench.clearFlows();
      const service = added(spec(who, who.one));
      const segment = (flags: string): Uint8Array => ask(who.client, who.external, service.port, { flags });
      const back = (flags: string): Uint8Array =>
        ip(who.one, who.gateway)
          .tcp({ sport: 8080, dport: 40000, flags, ...numbersOf(flags) })
          .bytes();
      bench.run('in', segment('S'), up);
      bench.run('in', back('SA'), pod);
      bench.run('in', side === 'ask' ? segment('FA') : back('FA'), side === 'ask' ? up : pod);
      const other = bench.run('in', ask(who.other, who.external, service.port), up);
      test.not(endsOf(other.packet).source, end(who.gateway, 40000), what);
      const data = bench.run('in', back('A'), pod);
      test.equal(
        `${data.verdict} ${endsOf(data.packet).target}`,
        `REPLY ${end(who.client, 40000)}`,
        'and what is still to come arrives',
      );
    }
    test.end();
  });

  t.test(`the port of an expired flow may be reused (S-68), ${title}`, (test) => {
    const service = added(spec(who, who.one));
    const segment = (from: string, flags: string): Uint8Array =>
      ask(from, who.external, service.port, { flags });
    const back = (flags: string): Uint8Array =>
      ip(who.one, who.gateway)
        .tcp({ sport: 8080, dport: 40000, flags, ...numbersOf(flags) })
        .bytes();
    for (const [what, last, seconds] of [
      ['unanswered', '', testConfig.tcpSynSec],
      ['reset', 'R', testConfig.tcpClosedSec],
      ['idle', 'A', testConfig.tcpIdleSec],
    ] as const) {
      bench.clearFlows();
      bench.run('in', segment(who.client, 'S'), up);
      if (last !== '') bench.run('in', back('SA'), pod);
      if (last !== '') bench.run('in', segment(who.client, 'A'), up);
      if (last !== '') bench.run('in', segment(who.client, last), up);
      bench.age(seconds - 1);
      const early = bench.run('in', ask(who.two, who.external, service.port), up);
      test.not(endsOf(early.packet).source, end(who.gateway, 40000), `${what}: not before`);
      bench.age(2);
      const taken = bench.run('in', segment(who.other, 'S'), up);
      test.equal(endsOf(taken.packet).source, end(who.gateway, 40000), what);
      const late = bench.run('in', segment(who.client, 'FA'), up);
      test.not(
        endsOf(late.packet).source,
        end(who.gateway, 40000),
        'what is late does not slip into the new one',
      );
      const reply = bench.run('in', back('SA'), pod);
      test.equal(`${reply.verdict} ${endsOf(reply.packet).target}`, `REPLY ${end(who.other, 40000)}`);
      bench.run('in', segment(who.other, 'A'), up);
      bench.age(testConfig.tcpHalfClosedSec + 1);
      test.equal(bench.run('in', back('A'), pod).verdict, 'REPLY', 'nor does it close it');
    }
    test.end();
  });

  t.test(`ICMP errors about masqueraded packets (S-84), ${title}`, (test) => {
    bench.clearFlows();
    const service = added(spec(who, who.far));
    bench.run('in', ask(who.client, who.external, service.port), up);
    bench.run('in', answer(who.far, 8080, who.node, 40000), up);
    const tooBig = who.family === 4 ? { type: 3, code: 4, rest: 1400 } : { type: 2, rest: 1400 };
    const ports = { sport: 40000, dport: 8080, flags: 'A', seq: 9 };
    for (const from of [who.router, who.far]) {
      const sent = ip(who.node, who.far).tcp(ports).payload(64).ip();
      const outcome = bench.run('in', ip(from, who.node).icmp(tooBig).payload(sent).bytes(), up);
      test.equal(
        `${outcome.verdict} ${outcome.action}`,
        'ICMP_REPLY redirect',
        'about a request: for the client',
      );
      const asked = ip(who.client, who.external)
        .tcp({ ...ports, dport: service.port })
        .payload(64)
        .ip();
      const source = from === who.far ? who.external : from;
      const expected = ip(source, who.client, { ttl: 63, hops: 63 }).icmp(tooBig).payload(asked).bytes();
      test.equal(show(outcome.packet), show(expected));
      test.same(outcome.packet.subarray(14), expected.subarray(14), 'to the byte');
    }
    const answered = { sport: service.port, dport: 40000, flags: 'A', seq: 9 };
    const sent = ip(who.external, who.client).tcp(answered).payload(64).ip();
    const outcome = bench.run('in', ip(who.router, who.external).icmp(tooBig).payload(sent).bytes(), up);
    test.equal(
      `${outcome.verdict} ${outcome.action}`,
      'ICMP_REQUEST redirect',
      'about a reply: for the backend',
    );
    const asked = ip(who.far, who.node)
      .tcp({ ...answered, sport: 8080 })
      .payload(64)
      .ip();
    const text = show(outcome.packet);
    test.ok(
      text.startsWith(`${who.node} > ${who.far} ICMP`) || text.startsWith(`${who.router} > ${who.far} ICMP`),
      text,
    );
    test.notMatch(text, /sum/);
    const at = 14 + (who.family === 4 ? 20 : 40) + 8;
    test.same(outcome.packet.subarray(at), asked, 'quotes what it sent');
    test.end();
  });

  t.test(`timeouts of masqueraded flows, ${title}`, (test) => {
    const lives = [
      { what: 'unanswered', steps: '', seconds: testConfig.tcpSynSec },
      { what: 'answered', steps: 'a', seconds: testConfig.tcpSynSec },
      { what: 'established', steps: 'aA', seconds: testConfig.tcpIdleSec },
      { what: 'closed by the client', steps: 'aAF', seconds: testConfig.tcpHalfClosedSec },
      { what: 'closed by both', steps: 'aAFf', seconds: testConfig.tcpClosedSec },
      { what: 'reset by the backend', steps: 'aAr', seconds: testConfig.tcpClosedSec },
    ];
    const service = added(spec(who, who.one));
    const segment = (flags: string): Uint8Array => ask(who.client, who.external, service.port, { flags });
    const back = (flags: string): Uint8Array =>
      ip(who.one, who.gateway)
        .tcp({ sport: 8080, dport: 40000, flags, ...numbersOf(flags) })
        .bytes();
    const live = (steps: string): void => {
      bench.clearFlows();
      bench.run('in', segment('S'), up);
      for (const each of steps) {
        const asks = { F: 'FA', A: 'A' }[each];
        if (asks !== undefined) bench.run('in', segment(asks), up);
        else bench.run('in', back({ a: 'SA', f: 'FA', r: 'R' }[each] ?? ''), pod);
      }
    };
    for (const { what, steps, seconds } of lives) {
      live(steps);
      bench.age(seconds - 2);
      test.equal(
        bench.run('in', segment('A'), up).verdict,
        'REQUEST',
        `${what}: alive after ${seconds - 2} s`,
      );
      bench.age(2);
      test.match(bench.run('in', back('A'), pod).verdict, /^REPLY/, 'and a request keeps the reply alive');
      live(steps);
      bench.age(seconds + 1);
      test.equal(bench.run('in', back('A'), pod).verdict, 'NOT_OURS', `${what}: gone after ${seconds + 1} s`);
      test.equal(bench.run('in', segment('A'), up).verdict, 'REQUEST_RESUMED');
    }
    test.end();
  });
}
