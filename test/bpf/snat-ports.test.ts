// Source ports towards one backend from one address of this node (S-64, S-68): more short connections than ports, and
// two CPUs that want the same port at once.
import '../support/run/alone.ts';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { verdictsBetween } from '../support/kernel/counts.ts';
import { Bench, testConfig } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { buildNode, describeNode } from '../support/kernel/node.ts';
import { ownBpffs, sweepOnExit } from '../support/run/owner.ts';
import { ask, endsOf, portOf } from '../support/packet/probe.ts';
import { patience } from '../support/run/process.ts';
import type { RacerTask } from '../support/kernel/racer.ts';

t.setTimeout(200_000);
const devices = buildNode();
const few = 64;
const bench = new Bench({ config: { snatPortMin: 61_000, snatPortMax: 61_000 + few - 1 } });
// So many ticks a second that no flow expires while threads race, however busy the machine, ports for all, and room
// for all flows: an LRU table gives rows up before it is full when one CPU has filled it and another goes on.
const roomy = { slb_flows4: 32_768, slb_flows6: 32_768, slb_half4: 32_768, slb_half6: 32_768 };
const wide = new Bench({
  config: { hz: 25_000, tcpIdleSec: 7_200, snatPortMin: 1_024, snatPortMax: 65_535 },
  sizes: roomy,
});
for (const each of [bench, wide]) {
  t.teardown(() => each.close());
  describeNode(each, devices);
}
sweepOnExit();
const folder = ownBpffs('ports');
const up = { ifindex: devices.uplink };
const pod = { ifindex: devices.pod };

function serve(who: Addresses, on = bench, protocol: 'tcp' | 'udp' = 'tcp'): void {
  const backends = [{ address: who.one, port: 8080 }];
  on.addService({ kind: 'external', address: who.external, port: 443, protocol, backends });
}

interface Segment {
  readonly flags: string;
  readonly seq: number;
  readonly ack: number;
}

/** One client's connection: its requests, and the answers to whatever the backend sees. */
class Connection {
  readonly #who: Addresses;
  readonly #sport: number;
  seen = '';

  constructor(who: Addresses, sport: number) {
    this.#who = who;
    this.#sport = sport;
  }

  ask({ flags, seq, ack }: Segment): string {
    const packet = ip(this.#who.client, this.#who.external).tcp({
      sport: this.#sport,
      dport: 443,
      flags,
      seq,
      ack,
    });
    const outcome = bench.run('in', packet.bytes(), up);
    if (flags === 'S') this.seen = endsOf(outcome.packet).source;
    return outcome.verdict;
  }

  answer({ flags, seq, ack }: Segment): string {
    const packet = ip(this.#who.one, this.#who.gateway).tcp({
      sport: 8080,
      dport: portOf(this.seen),
      flags,
      seq,
      ack,
    });
    const outcome = bench.run('in', packet.bytes(), pod);
    return `${outcome.verdict} ${endsOf(outcome.packet).target}`;
  }

  open(isn: number): string {
    const verdict = this.ask({ flags: 'S', seq: isn, ack: 0 });
    if (verdict !== 'REQUEST_NEW') return verdict;
    this.answer({ flags: 'SA', seq: 900, ack: (isn + 1) >>> 0 });
    this.ask({ flags: 'A', seq: (isn + 1) >>> 0, ack: 901 });
    return verdict;
  }

  close(isn: number): void {
    this.ask({ flags: 'FA', seq: (isn + 1) >>> 0, ack: 901 });
    this.answer({ flags: 'FA', seq: 901, ack: (isn + 2) >>> 0 });
    this.ask({ flags: 'A', seq: (isn + 2) >>> 0, ack: 902 });
  }
}

/** Numbers that go up and down as those of unlike clients do, the same in every run. */
const isnOf = (index: number): number => Math.imul(index + 1, 2_654_435_761) >>> 0;

for (const who of bothFamilies) {
  const family = `IPv${String(who.family)}`;

  t.test(`many more short connections than ports: each gets a port (S-68), ${family}`, (test) => {
    bench.clearFlows();
    serve(who);
    // The clients' own ports are taken, so that each of the others has to be given one.
    const living = Array.from({ length: 10 }, (_, index) => new Connection(who, 61_000 + index));
    for (const [index, connection] of living.entries()) connection.open(isnOf(index));
    const taken = new Set(living.map(({ seen }) => seen));
    const verdicts = new Map<string, number>();
    for (let index = 0; index < 1_500; index++) {
      const connection = new Connection(who, 61_010 + (index % 4_000));
      const verdict = connection.open(isnOf(index));
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
      if (taken.has(connection.seen)) test.fail(`${connection.seen} belongs to a connection that lives`);
      connection.close(isnOf(index));
    }
    test.same([...verdicts], [['REQUEST_NEW', 1_500]]);
    for (const [index, connection] of living.entries()) {
      const reply = connection.answer({ flags: 'A', seq: 901, ack: (isnOf(index) + 1) >>> 0 });
      test.equal(reply, `REPLY ${end(who.client, 61_000 + index)}`, 'those that live are answered as before');
    }
    test.end();
  });

  t.test(`the port of a half-closed connection is not reused, ${family}`, (test) => {
    const narrow = new Bench({ config: { snatPortMin: 61_000, snatPortMax: 61_000 } });
    try {
      describeNode(narrow, devices);
      const backends = [{ address: who.one, port: 8080 }];
      narrow.addService({ kind: 'external', address: who.external, port: 443, protocol: 'tcp', backends });
      const ask = (src: string, sport: number, flags: string, seq: number, ack = 0): string => {
        const packet = ip(src, who.external).tcp({ sport, dport: 443, flags, seq, ack }).bytes();
        const outcome = narrow.run('in', packet, up);
        return `${outcome.verdict} ${endsOf(outcome.packet).source}`;
      };
      const answer = (flags: string, seq: number, ack: number): string => {
        const packet = ip(who.one, who.gateway).tcp({ sport: 8080, dport: 61_000, flags, seq, ack }).bytes();
        return narrow.run('in', packet, pod).verdict;
      };
      const other = (): string => ask(who.other, 61_000, 'S', 10_000).split(' ')[0] ?? '';
      ask(who.client, 61_000, 'S', 500);
      answer('SA', 900, 501);
      ask(who.client, 61_000, 'A', 501, 901);
      test.equal(other(), 'DROP_NO_PORT', 'while it lives');
      ask(who.client, 61_000, 'FA', 501, 901);
      test.equal(other(), 'DROP_NO_PORT', 'while the backend may still send');
      answer('FA', 901, 502);
      const taken = ask(who.other, 61_000, 'S', 10_000);
      test.equal(
        taken,
        `REQUEST_NEW ${end(who.gateway, 61_000)}`,
        'when both have closed, and no other is free',
      );
      test.equal(answer('SA', 70_000, 10_001), 'REPLY');
      test.equal(narrow.counters().SNAT_PORT_REUSED, 1n);
      narrow.age(testConfig.tcpClosedSec + 1);
      test.equal(answer('A', 70_001, 10_001), 'REPLY', 'and the end of the first does not end the second');
    } finally {
      narrow.close();
    }
    test.end();
  });
}

const known: readonly string[] = ['REQUEST', 'REPLY'];

// A thread does not inherit the loader of TypeScript.
const racer = new URL('../support/kernel/racer.ts', import.meta.url).href;
const racerCode = `import('tsx/esm/api').then(({ register }) => (register(), import('${racer}')))`;

type Entrant = Pick<RacerTask, 'packet' | 'moves' | 'spread'> & { readonly at: typeof up };

/**
 * Runs a packet a port, from 1024 on, in step with the other racer; the source ports of those that were sent, else 0.
 */
async function race(entrants: readonly Entrant[], rounds: number): Promise<readonly (readonly number[])[]> {
  const path = `${folder}/race`;
  wide.program('in').pin(path);
  const steps = new SharedArrayBuffer(4 * entrants.length);
  try {
    const running = entrants.map(({ at, ...entrant }, index) => {
      const context = wide.contextAt('in', at);
      const workerData: RacerTask = { path, ...entrant, context, rounds, index, steps };
      const worker = new Worker(racerCode, { workerData, eval: true });
      return once(worker, 'message').then(([sources]) => sources as readonly number[]);
    });
    return await Promise.all(running);
  } finally {
    rmSync(path);
  }
}

const racers = (packets: readonly Uint8Array[], rounds: number): ReturnType<typeof race> =>
  race(
    packets.map((packet) => ({ packet, at: up })),
    rounds,
  );

for (const who of bothFamilies) {
  t.test(
    `two CPUs that open flows at once never give two clients one port (S-68), IPv${String(who.family)}`,
    async (test) => {
      const rounds = Math.round(4_000 / patience);
      wide.clearFlows();
      serve(who, wide);
      const syn = (src: string): Uint8Array =>
        ip(src, who.external).tcp({ sport: 1024, dport: 443, flags: 'S' }).bytes();
      const [first = [], second = []] = await racers([syn(who.client), syn(who.other)], rounds);
      test.equal(first.length, rounds);
      const same = first.filter((port, round) => port !== 0 && port === second[round]);
      test.same(same, [], 'of connections that were opened at the same moment');
      // Each got its own port, or another: neither was dropped but for want of a port.
      test.ok(first.filter((port) => port === 0).length < rounds / 100, 'and hardly any is dropped');
      test.end();
    },
  );

  t.test(`two CPUs that see the same SYN open one flow, IPv${String(who.family)}`, async (test) => {
    const rounds = Math.round(4_000 / patience);
    wide.clearFlows();
    serve(who, wide);
    const syn = ip(who.client, who.external).tcp({ sport: 1024, dport: 443, flags: 'S' }).bytes();
    const [first = [], second = []] = await racers([syn, syn], rounds);
    const unlike = first.filter((port, round) => port !== second[round] && port !== 0 && second[round] !== 0);
    test.same(unlike, [], 'the backend sees one source');
    test.equal(first.length, rounds);
    test.end();
  });

  // A flow is moved from one table to the other while another CPU looks for it.
  for (const proto of ['tcp', 'udp'] as const) {
    t.test(
      `a flow is found while its client confirms it (S-71, S-72, S-89): ${proto}, there and back, IPv${String(who.family)}`,
      async (test) => {
        const rounds = Math.round(2_000 / patience);
        const spread = 400;
        const backends = [{ address: who.one, port: 8080 }];
        wide.addService({ kind: 'external', address: who.external, port: 443, protocol: proto, backends });
        const ask = (sport: number, flags: string): Uint8Array => {
          const packet = ip(who.client, who.external);
          if (proto === 'udp') return packet.udp({ sport, dport: 443 }).bytes();
          return packet
            .tcp({ sport, dport: 443, flags, seq: flags === 'S' ? 500 : 501, ack: flags === 'S' ? 0 : 901 })
            .bytes();
        };
        const answer = (dport: number, flags: string): Uint8Array => {
          const packet = ip(who.one, who.gateway);
          if (proto === 'udp') return packet.udp({ sport: 8080, dport }).bytes();
          return packet.tcp({ sport: 8080, dport, flags, seq: flags === 'SA' ? 900 : 901, ack: 501 }).bytes();
        };
        const second = {
          'another request': { packet: ask(1024, 'A'), at: up, spread },
          'a reply': { packet: answer(1024, 'A'), at: pod, moves: 'target', spread },
        } as const;
        for (const [what, entrant] of Object.entries(second)) {
          wide.clearFlows();
          for (let port = 1024; port < 1024 + rounds; port++) {
            wide.run('in', ask(port, 'S'), up);
            wide.run('in', answer(port, 'SA'), pod);
          }
          const before = wide.verdicts('in');
          const [first = [], other = []] = await race(
            [{ packet: ask(1024, 'A'), at: up, spread }, entrant],
            rounds,
          );
          const lost = [first, other].map((sent) => sent.filter((port) => port === 0).length);
          test.same(lost, [0, 0], `the confirmation and ${what} are sent`);
          test.same(
            verdictsBetween(before, wide.verdicts('in')).filter((one) => !known.includes(one)),
            [],
            what,
          );
        }
      },
    );
  }
}

for (const who of bothFamilies) {
  t.test(`ports of this host's own sockets are not used (S-68), IPv${who.family}`, async (test) => {
    wide.clearFlows();
    serve(who, wide);
    const dialling = connect({ host: who.one, port: 8080, localAddress: who.gateway, localPort: 45000 });
    dialling.on('error', () => undefined); // no server answers: the kernel gives up after a while
    await setImmediate();
    const tcp = wide.run('in', ask(who.client, who.external, 443, { sport: 45000 }), up);
    test.equal(tcp.verdict, 'REQUEST_NEW');
    test.not(endsOf(tcp.packet).source, end(who.gateway, 45000), 'it talks to the backend from this port');
    dialling.destroy();

    serve(who, wide, 'udp');
    const bound = createSocket(who.family === 4 ? 'udp4' : 'udp6');
    bound.bind(45001, who.gateway);
    await once(bound, 'listening');
    const udp = wide.run('in', ask(who.client, who.external, 443, { protocol: 'udp', sport: 45001 }), up);
    test.equal(udp.verdict, 'REQUEST_NEW');
    test.not(endsOf(udp.packet).source, end(who.gateway, 45001), 'it waits at this port');
    bound.close();
    test.end();
  });
}
