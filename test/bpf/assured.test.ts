// When a flow counts as established, as netfilter's ASSURED: after its client has acknowledged the backend's answer.
// A FIN or RST ends a flow only when its receiver accepts it. Forged packets fill no table, hold no port and end no
// connection.
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import { slbFlowFlags } from '../../src/abi/layout.gen.ts';
import { Bench, testConfig, type Outcome } from '../support/kernel/bpfrun.ts';
import { bothFamilies, ip, type Addresses } from '../support/packet/addresses.ts';
import { buildNode, describeNode } from '../support/kernel/node.ts';
import { endsOf, portOf } from '../support/packet/probe.ts';

t.setTimeout(280_000);
const devices = buildNode();
const bench = new Bench({ sizes: { slb_half4: 8192, slb_half6: 8192 } });
t.teardown(() => bench.close());
describeNode(bench, devices);

const up = { ifindex: devices.uplink };
const pod = { ifindex: devices.pod };
const isn = 7_000_000; // of the backend

let ports = 2000;
type Protocol = 'tcp' | 'udp' | 'sctp';
function serve(who: Addresses, protocol: Protocol, kind: 'cluster' | 'external', backend = who.one): number {
  const port = ++ports;
  const address = kind === 'cluster' ? who.vip : who.external;
  bench.addService({ kind, address, port, protocol, backends: [{ address: backend, port: 8080 }] });
  return port;
}

const established = (who: Addresses): number =>
  [...bench.flows(who.family).keys()].filter((key) => key.startsWith('flows')).length;

/** A connection as both ends see it. */
class Talk {
  readonly who: Addresses;
  readonly protocol: Protocol;
  readonly dst: string;
  readonly dport: number;
  readonly client: string;
  readonly sport: number;
  #seen = ''; // the source that the backend sees

  constructor(
    who: Addresses,
    protocol: Protocol,
    dst: string,
    dport: number,
    client = who.client,
    sport = 40000,
  ) {
    this.who = who;
    this.protocol = protocol;
    this.dst = dst;
    this.dport = dport;
    this.client = client;
    this.sport = sport;
  }

  get at(): { ifindex: number } {
    return [this.who.one, this.who.two].includes(this.client) ? pod : up;
  }

  ask(flags: string, seq = 1, ack = isn + 1): Outcome {
    const { sport, dport, protocol } = this;
    const frame = ip(this.client, this.dst);
    const bytes =
      protocol === 'udp'
        ? frame.udp({ sport, dport }).bytes()
        : frame
            .tcp({ sport, dport, flags, seq: flags === 'S' ? 0 : seq, ack: flags === 'S' ? 0 : ack })
            .bytes();
    const outcome = bench.run('in', bytes, this.at);
    if (flags === 'S') this.#seen = endsOf(outcome.packet).source;
    return outcome;
  }

  /** From the backend, at the hook that its reply meets: ingress when it was sent to this node's own address. */
  answer(flags: string, seq = flags.includes('S') ? isn : isn + 1, ack = 1, backend = this.who.one): Outcome {
    const port = portOf(this.#seen);
    const seen = this.#seen.slice(0, this.#seen.lastIndexOf(':')).replace(/[[\]]/g, '');
    const frame = ip(backend, seen);
    const bytes =
      this.protocol === 'udp'
        ? frame.udp({ sport: 8080, dport: port }).bytes()
        : frame.tcp({ sport: 8080, dport: port, flags, seq, ack }).bytes();
    const own = [this.who.gateway, this.who.node].includes(seen) || seen === this.dst;
    return bench.run(own ? 'in' : 'out', bytes, pod);
  }

  open(test: Test): void {
    test.equal(this.ask('S').verdict, 'REQUEST_NEW');
    test.match(this.answer('SA').verdict, /^(REPLY|HAIRPIN)$/);
    test.match(this.ask('A').verdict, /^(REQUEST|HAIRPIN)$/);
  }

  get source(): string {
    return this.#seen;
  }
}

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;

  for (const protocol of ['tcp', 'udp'] as const) {
    /** Flows of every choice of source, and what opens them. */
    const kinds: readonly (readonly [string, () => Talk])[] = [
      [
        "the client's own address and port",
        () => new Talk(who, protocol, who.vip, serve(who, protocol, 'cluster'), who.two),
      ],
      ["this node's address", () => new Talk(who, protocol, who.external, serve(who, protocol, 'external'))],
      [
        "this node's address and another port",
        () => {
          const port = serve(who, protocol, 'external');
          const first = new Talk(who, protocol, who.external, port, who.other);
          first.ask('S');
          return new Talk(who, protocol, who.external, port);
        },
      ],
      [
        "the client's address and another port",
        () => {
          const port = serve(who, protocol, 'cluster');
          new Talk(who, protocol, who.vip, port, who.two).ask('S');
          return new Talk(who, protocol, who.vip, serve(who, protocol, 'cluster'), who.two);
        },
      ],
      [
        'direct talk beside a flow of a service',
        () => {
          new Talk(who, protocol, who.vip, serve(who, protocol, 'cluster'), who.two).ask('S');
          return new Talk(who, protocol, who.one, 8080, who.two);
        },
      ],
      ['a hairpin', () => new Talk(who, protocol, who.vip, serve(who, protocol, 'cluster'), who.one)],
    ];
    bench.addDevice(devices.pod, {
      role: 'pod',
      netns: 7,
      addr4: bothFamilies[0]!.gateway,
      addr6: bothFamilies[1]!.gateway,
    });
    for (const [what, make] of kinds) {
      t.test(
        `a flow is established once its client has acknowledged, whatever its source (S-68): ${what}, ${protocol}, ${family}`,
        (test) => {
          bench.clearFlows();
          const talk = make();
          talk.ask('S');
          test.not(talk.source, '', 'opened');
          test.match(talk.answer('SA').verdict, /^(REPLY|HAIRPIN)$/);
          test.equal(established(who), 0, 'an answer alone makes no flow an established one');
          talk.ask('A');
          test.equal(established(who), 2, 'both entries, when the client has confirmed');
          bench.age((protocol === 'tcp' ? testConfig.tcpSynSec : testConfig.udpNewSec) + 1);
          test.match(talk.answer('A').verdict, /^(REPLY|HAIRPIN)$/, 'and it lives as long as one');
          for (const flow of bench.flows(who.family).values())
            if ((flow.flags & slbFlowFlags.FLOW_ASSURED) !== 0) test.equal(flow.rst, 0);
          test.end();
        },
      );
    }
  }

  t.test(`a segment with another acknowledgement number does not establish a flow, ${family}`, (test) => {
    bench.clearFlows();
    const talk = new Talk(who, 'tcp', who.vip, serve(who, 'tcp', 'cluster'), who.two);
    talk.ask('S');
    talk.answer('SA');
    for (const ack of [0, isn, isn - 100_000, isn + 1 + 2 ** 20, 0xffffffff]) talk.ask('A', 1, ack);
    test.equal(established(who), 0, 'forged acknowledgments');
    talk.ask('A', 1, isn + 1 + 2 ** 20 - 1);
    test.equal(established(who), 2, 'data may have been acknowledged, too');
    test.end();
  });

  t.test(`a new SYN-ACK needs a new acknowledgement, ${family}`, (test) => {
    bench.clearFlows();
    const talk = new Talk(who, 'tcp', who.vip, serve(who, 'tcp', 'cluster'), who.two);
    talk.ask('S');
    talk.answer('SA', 1);
    talk.ask('S'); // the client has given up, and dials again from its port
    talk.answer('SA', isn);
    talk.ask('A');
    test.equal(established(who), 2);
    test.end();
  });

  const strays: readonly (readonly [string, (talk: Talk) => void])[] = [
    ['a RST of the client', (talk) => talk.ask('R', 3_000_000_000)],
    ['a RST of the backend', (talk) => talk.answer('R', isn + 1 + 2 ** 20)],
    ['a RST of the past', (talk) => talk.answer('R', isn - 1)],
    ['a RST that acknowledges', (talk) => talk.answer('RA', 5, 77)],
    [
      'FINs of both ends',
      (talk) => {
        talk.ask('FA', 3_000_000_000, 9);
        talk.answer('FA', 3_000_000_000, 9);
      },
    ],
  ];
  for (const [what, stray] of strays) {
    for (const kind of ['cluster', 'external'] as const) {
      t.test(`a forged FIN or RST ends no flow: ${what}, ${kind}, ${family}`, (test) => {
        bench.clearFlows();
        const port = serve(who, 'tcp', kind);
        const talk =
          kind === 'cluster'
            ? new Talk(who, 'tcp', who.vip, port, who.two)
            : new Talk(who, 'tcp', who.external, port);
        talk.open(test);
        const before = bench.counters().STRAY_END;
        stray(talk);
        test.ok(bench.counters().STRAY_END > before, 'it is counted');
        bench.age(testConfig.tcpHalfClosedSec + 1);
        test.equal(talk.answer('A').verdict, 'REPLY', 'what the server pushes after a long silence arrives');
        test.equal(talk.ask('A').verdict, 'REQUEST');
        test.end();
      });
    }
  }

  t.test(`a segment after a RST revives the flow, ${family}`, (test) => {
    for (const side of ['ask', 'answer'] as const) {
      bench.clearFlows();
      const talk = new Talk(who, 'tcp', who.vip, serve(who, 'tcp', 'cluster'), who.two);
      talk.open(test);
      talk.ask('R'); // its receiver may believe it
      if (side === 'ask') talk.ask('A');
      else talk.answer('A'); // but has answered as RFC 5961 wants it, with a challenge
      bench.age(testConfig.tcpHalfClosedSec + 1);
      test.equal(talk.answer('A').verdict, 'REPLY', `${side}: the flow lives on`);
      talk.answer('R');
      bench.age(testConfig.tcpClosedSec + 1);
      test.equal(talk.answer('A').verdict, 'NOT_OURS', 'with nothing after it it ends the flow');
    }
    test.end();
  });

  t.test(
    `a FIN that a forged acknowledgment made credible is taken back by its receiver's answer, ${family}`,
    (test) => {
      const far = 3_000_000_000;
      const client = (talk: Talk): void => {
        talk.ask('A', 1, far);
        talk.answer('FA', far, 1);
      };
      const backend = (talk: Talk): void => {
        talk.answer('A', isn + 1, far);
        talk.ask('FA', far, isn + 1);
      };
      // What each end says of its connection, when it is sent what cannot be right (RFC 9293, 3.10.7.4).
      const challenges = { client: (talk: Talk) => talk.ask('A'), backend: (talk: Talk) => talk.answer('A') };
      for (const [what, forged, answers] of [
        ["the backend's", [client], [challenges.client]],
        ["the client's", [backend], [challenges.backend]],
        ['both, one after the other', [client, backend], [challenges.client, challenges.backend]],
      ] as const) {
        bench.clearFlows();
        const talk = new Talk(who, 'tcp', who.vip, serve(who, 'tcp', 'cluster'), who.two);
        talk.open(test);
        for (const forge of forged) forge(talk);
        for (const answer of answers) answer(talk);
        const ends = [...bench.flows(who.family).values()].map(({ fin, peerFin }) => fin + peerFin);
        test.same(ends, [0, 0], `${what}: no mark is left`);
        bench.age(testConfig.tcpHalfClosedSec + 1);
        test.equal(talk.answer('A').verdict, 'REPLY', 'what the server pushes after a long silence arrives');
        test.equal(talk.ask('A').verdict, 'REQUEST');
      }
      test.end();
    },
  );

  t.test(
    `a FIN that is right stays, whatever its receiver acknowledges of what came before, ${family}`,
    (test) => {
      bench.clearFlows();
      const talk = new Talk(who, 'tcp', who.vip, serve(who, 'tcp', 'cluster'), who.two);
      talk.open(test);
      const sent = 2 ** 20 - 2;
      talk.answer('FA', isn + 1 + sent, 1);
      for (const ack of [isn + 1, isn + 2, isn + 1 + sent, isn + 2 + sent, isn + 1 + sent])
        talk.ask('A', 1, ack);
      talk.answer('A', isn + 2 + sent, 1);
      talk.ask('FA', 1, isn + 2 + sent);
      talk.answer('A', isn + 2 + sent, 2);
      for (const { fin, peerFin } of bench.flows(who.family).values()) test.same([fin, peerFin], [1, 1]);
      bench.age(testConfig.tcpClosedSec + 1);
      test.equal(talk.answer('A').verdict, 'NOT_OURS');
      test.end();
    },
  );

  t.test(`an SCTP ABORT with another verification tag ends no flow (S-86), ${family}`, (test) => {
    bench.clearFlows();
    const port = serve(who, 'sctp', 'cluster');
    const [mine, theirs] = [0x11111111, 0x22222222];
    const initiate = (tag: number): Uint8Array =>
      Uint8Array.of(tag >>> 24, tag >>> 16, tag >>> 8, tag, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const ask = (chunk: number, tag: number, body: Uint8Array | number = 16): string =>
      bench.run(
        'in',
        ip(who.two, who.vip).sctp({ sport: 40000, dport: port, chunk, tag }).payload(body).bytes(),
        pod,
      ).verdict;
    const answer = (chunk: number, tag: number, body: Uint8Array | number = 16): string =>
      bench.run(
        'out',
        ip(who.one, who.two).sctp({ sport: 8080, dport: 40000, chunk, tag }).payload(body).bytes(),
        pod,
      ).verdict;
    const [init, initAck, cookieEcho, abort, data] = [1, 2, 10, 6, 0];
    test.equal(ask(init, 0, initiate(mine)), 'REQUEST_NEW');
    test.equal(answer(initAck, mine, initiate(theirs)), 'REPLY');
    test.equal(ask(cookieEcho, 0x33333333), 'REQUEST');
    test.equal(established(who), 0, 'another tag confirms nothing');
    test.equal(ask(cookieEcho, theirs), 'REQUEST');
    test.equal(established(who), 2, 'that of the INIT ACK does');
    for (const side of [ask, answer]) {
      side(abort, 0x33333333);
      side(data, 0x44444444); // forged as well: who sends an ABORT may send anything
      side(abort, 0x44444444);
    }
    bench.age(testConfig.tcpHalfClosedSec + 1);
    test.equal(answer(data, mine), 'REPLY', 'it lives on');
    answer(abort, theirs); // with the T bit: the tag of what it answers
    bench.age(testConfig.tcpClosedSec + 1);
    test.equal(answer(data, mine), 'NOT_OURS', 'the right one ends it');
    test.end();
  });
}
