// Flows: their timeouts, their owner, and changes of the tables while they are open.
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import type { Service, ServiceSpec } from '../support/kernel/rows.ts';
import { Bench, testConfig } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { endsOf, numbersOf, portOf } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const bench = new Bench();
// Opening a thousand connections takes minutes where the kernel runs in emulation: none of them may expire meanwhile.
const patient = new Bench({ config: { tcpSynSec: 7200 } });
t.teardown(() => patient.close());
t.teardown(() => bench.close());

const web = (who: Addresses, ...backends: readonly string[]): ServiceSpec => ({
  address: who.vip,
  port: 80,
  protocol: 'tcp',
  backends: backends.map((address) => ({ address, port: 8080 })),
});
const dns = (who: Addresses, ...backends: readonly string[]): ServiceSpec => ({
  ...web(who, ...backends),
  port: 53,
  protocol: 'udp',
});
const ask = (who: Addresses, flags: string, port = 40000): Uint8Array =>
  ip(who.client, who.vip)
    .tcp({ sport: port, dport: 80, flags, ...numbersOf(flags) })
    .bytes();
const answer = (who: Addresses, flags: string, from = who.one): Uint8Array =>
  ip(from, who.client)
    .tcp({ sport: 8080, dport: 40000, flags, ...numbersOf(flags) })
    .bytes();
const query = (who: Addresses): Uint8Array =>
  ip(who.client, who.vip).udp({ sport: 40000, dport: 53 }).bytes();

/** Which backend a packet was sent to. */
function target(packet: Uint8Array): string {
  return / > (\S+)/.exec(show(packet))?.[1] ?? '';
}

function establish(who: Addresses): void {
  bench.clearFlows();
  bench.run('in', ask(who, 'S'));
  bench.run('out', answer(who, 'SA'));
  bench.run('in', ask(who, 'A'));
}

interface Life {
  readonly what: string;
  readonly steps: readonly (readonly ['ask' | 'answer', string])[];
  readonly seconds: number;
}

const opened = [
  ['ask', 'S'],
  ['answer', 'SA'],
] as const;
const confirmed = [...opened, ['ask', 'A']] as const;
const lives: readonly Life[] = [
  { what: 'unanswered', steps: [['ask', 'S']], seconds: testConfig.tcpSynSec },
  { what: 'answered, and not confirmed', steps: opened, seconds: testConfig.tcpSynSec },
  { what: 'established', steps: confirmed, seconds: testConfig.tcpIdleSec },
  {
    what: 'closed by the client',
    steps: [...confirmed, ['ask', 'FA']],
    seconds: testConfig.tcpHalfClosedSec,
  },
  {
    what: 'closed by the backend',
    steps: [...confirmed, ['answer', 'FA']],
    seconds: testConfig.tcpHalfClosedSec,
  },
  {
    what: 'closed by both',
    steps: [...confirmed, ['ask', 'FA'], ['answer', 'FA']],
    seconds: testConfig.tcpClosedSec,
  },
  { what: 'reset by the client', steps: [...confirmed, ['ask', 'R']], seconds: testConfig.tcpClosedSec },
  { what: 'reset by the backend', steps: [...confirmed, ['answer', 'R']], seconds: testConfig.tcpClosedSec },
  {
    what: 'refused by the backend',
    steps: [
      ['ask', 'S'],
      ['answer', 'RA'],
    ],
    seconds: testConfig.tcpClosedSec,
  },
];

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;

  t.test(`timeouts of TCP flows, ${family}`, (test) => {
    bench.addService(web(who, who.one));
    for (const { what, steps, seconds } of lives) {
      const live = (): void => {
        bench.clearFlows();
        for (const [side, flags] of steps) {
          if (side === 'ask') bench.run('in', ask(who, flags));
          else bench.run('out', answer(who, flags));
        }
      };
      live();
      bench.age(seconds - 2);
      test.equal(bench.run('in', ask(who, 'A')).verdict, 'REQUEST', `${what}: alive after ${seconds - 2} s`);
      test.equal(bench.run('out', answer(who, 'A')).verdict, 'REPLY', 'a request keeps the reply alive too');
      live();
      bench.age(seconds + 1);
      test.equal(
        bench.run('out', answer(who, 'A')).verdict,
        'NOT_OURS',
        `${what}: gone after ${seconds + 1} s`,
      );
      test.equal(
        bench.run('in', ask(who, 'A')).verdict,
        'REQUEST_RESUMED',
        'its hash finds the backend again',
      );
      test.equal(bench.run('in', ask(who, 'A')).verdict, 'REQUEST');
    }
    test.end();
  });

  t.test(`timeouts of UDP flows, ${family}`, (test) => {
    bench.addService(dns(who, who.one));
    const reply = ip(who.one, who.client).udp({ sport: 8080, dport: 40000 }).bytes();
    for (const [what, steps, seconds] of [
      ['new', '', testConfig.udpNewSec],
      ['answered', 'a', testConfig.udpNewSec],
      ['a stream', 'aq', testConfig.udpIdleSec],
    ] as const) {
      for (const [age, verdict] of [
        [seconds - 2, 'REQUEST'],
        [seconds + 1, 'REQUEST_NEW'],
      ] as const) {
        bench.clearFlows();
        bench.run('in', query(who));
        for (const each of steps) bench.run(each === 'a' ? 'out' : 'in', each === 'a' ? reply : query(who));
        bench.age(age);
        test.equal(bench.run('in', query(who)).verdict, verdict, `${what}, after ${age} s`);
      }
    }
    test.end();
  });

  t.test(`time stamps are refreshed once a second, in both directions, ${family}`, (test) => {
    bench.addService(web(who, who.one));
    establish(who);
    const stamps = (): number[] => [...bench.flows(who.family).values()].map((flow) => flow.seen);
    bench.age(5);
    const old = stamps();
    bench.run('out', answer(who, 'A'));
    const fresh = stamps();
    test.ok(
      fresh.every((seen, i) => seen !== old[i]),
      'stale stamps are renewed',
    );
    test.equal(new Set(fresh).size, 1, 'and to the same');
    test.end();
  });

  t.test(`the evicted half of a flow is made again, ${family}`, (test) => {
    bench.addService(web(who, who.one));
    for (const side of ['in', 'out'] as const) {
      bench.clearFlows();
      bench.run('in', ask(who, 'S'));
      if (side === 'out') {
        bench.run('out', answer(who, 'SA'));
        bench.run('in', ask(who, 'A'));
      }
      bench.age(2);
      const keys: Uint8Array[] = [];
      const tier = side === 'out' ? 'flows' : 'half';
      bench.eachFlow(tier, who.family, (key, flow) => {
        if ((flow.flags & 1) === (side === 'in' ? 1 : 0)) keys.push(key);
      });
      const before = bench.flows(who.family);
      for (const key of keys) bench.map(`slb_${tier}${who.family}`).delete(key);
      test.equal(bench.flows(who.family).size, 1);
      bench.run(side, side === 'in' ? ask(who, 'S') : answer(who, 'A'));
      const after = bench.flows(who.family);
      test.same([...after.keys()].sort(), [...before.keys()].sort());
      for (const [key, flow] of before)
        test.match(after.get(key), { ...flow, seen: Number, created: Number, ack: Number });
    }
    test.end();
  });

  t.test(`mid-connection packets and resets without a flow, ${family}`, (test) => {
    const service = bench.addService(web(who, who.one, who.two));
    bench.clearFlows();
    const targets = Array.from({ length: 20 }, (_, i) => {
      const first = target(bench.run('in', ask(who, 'S', 41000 + i)).packet);
      bench.clearFlows();
      const outcome = bench.run('in', ask(who, 'A', 41000 + i));
      test.equal(outcome.verdict, 'REQUEST_RESUMED');
      test.equal(target(outcome.packet), first, 'the backend that the connection was with');
      return first;
    });
    test.equal(new Set(targets).size, 2, 'both backends are used');
    test.equal(
      bench.stats('slb_svc_stats', service.id).connections,
      20n,
      'resumed ones are not counted as new',
    );
    bench.clearFlows();
    const reset = bench.run('in', ask(who, 'R'));
    test.equal(reset.verdict, 'DROP_NO_FLOW');
    test.same(reset.packet, ask(who, 'R'));
    test.equal(bench.run('xdp', ask(who, 'SA')).verdict, 'DROP_NO_FLOW');
    test.end();
  });

  t.test(`connections spread evenly, and keep their backend (S-89), ${family}`, (test) => {
    const backends = [who.one, who.two, who.router];
    let service = patient.addService(web(who, ...backends));
    patient.clearFlows();
    const before = new Map<number, string>();
    for (let port = 1024; port < 2224; port++)
      before.set(port, target(patient.run('in', ask(who, 'S', port)).packet));
    for (const address of backends) {
      const count = [...before.values()].filter((to) => to === end(address, 8080)).length;
      test.ok(Math.abs(count - 400) < 60, `${count} of 1200 to one of three`);
    }
    const spec = web(who, who.one, who.two);
    service = patient.replaceBackends(service, spec);
    for (const [port, to] of before) {
      if (target(patient.run('in', ask(who, 'A', port)).packet) !== to) test.fail(`${port} has moved`);
    }
    test.pass('connections stay where they are');
    const again = patient.run('in', ask(who, 'S', 1024));
    test.equal(again.verdict, 'REQUEST_NEW', 'but a new dial from the same port is a new connection');
    test.not(target(again.packet), end(who.router, 8080));
    test.equal(patient.stats('slb_svc_stats', service.id).connections, 1201n);
    test.end();
  });

  t.test(`a new connection from the same port, ${family}`, (test) => {
    bench.addService(web(who, who.one));
    for (const [last, verdict] of [
      [undefined, 'REQUEST'],
      [ask(who, 'FA'), 'REQUEST_NEW'],
      [ask(who, 'R'), 'REQUEST_NEW'],
    ] as const) {
      establish(who);
      if (last !== undefined) bench.run('in', last);
      test.equal(bench.run('in', ask(who, 'S')).verdict, verdict);
      test.equal(bench.flows(who.family).size, 2, 'one pair of entries');
      test.equal(bench.run('out', answer(who, 'SA')).verdict, 'REPLY');
    }
    test.end();
  });

  t.test(`a connection to the backend from a port used for its Service before, ${family}`, (test) => {
    bench.addService(web(who, who.one));
    for (const end of [
      ['FA', 'FA'],
      ['R', undefined],
      [undefined, 'R'],
    ] as const) {
      establish(who);
      if (end[0] !== undefined) bench.run('in', ask(who, end[0]));
      if (end[1] !== undefined) bench.run('out', answer(who, end[1]));
      const own = bench.run('out', answer(who, 'SA'));
      test.equal(own.verdict, 'NOT_OURS', 'the answer is that of another connection');
      test.same(own.packet, answer(who, 'SA'));
      test.equal(bench.run('out', answer(who, 'A')).verdict, 'NOT_OURS', 'and so is what follows');
      test.equal(bench.flows(who.family).size, 0, 'the ended one is forgotten');
    }
    establish(who);
    test.equal(
      bench.run('out', answer(who, 'SA')).verdict,
      'REPLY',
      'a living connection may be answered twice',
    );
    test.end();
  });

  t.test(`UDP moves to a living backend (S-90), ${family}`, (test) => {
    const service = bench.addService(dns(who, who.one));
    bench.clearFlows();
    test.equal(target(bench.run('in', query(who)).packet), end(who.one, 8080));
    const [gone = 0] = service.backendIds;
    bench.setRow(service.id);
    bench.removeBackend(gone);
    test.equal(bench.run('in', query(who)).verdict, 'REQUEST', 'with no other backend it stays');
    bench.replaceBackends(service, dns(who, who.two));
    const moved = bench.run('in', query(who));
    test.equal(moved.verdict, 'REQUEST_NEW');
    test.equal(target(moved.packet), end(who.two, 8080));
    test.equal(bench.run('in', query(who)).verdict, 'REQUEST');
    const late = ip(who.one, who.client).udp({ sport: 8080, dport: 40000 }).bytes();
    test.equal(bench.run('out', late).verdict, 'NOT_OURS', 'the old backend is forgotten');
    test.end();
  });

  t.test(
    `UDP of a deleted Service goes to the Service that has its address now (S-20, S-90), ${family}`,
    (test) => {
      const service = bench.addService(dns(who, who.one));
      bench.clearFlows();
      test.equal(target(bench.run('in', query(who)).packet), end(who.one, 8080));
      bench.removeService(service.id);
      service.backendIds.forEach((id) => bench.removeBackend(id));
      bench.addService(dns(who, who.two));
      const moved = bench.run('in', query(who));
      test.equal(moved.verdict, 'REQUEST_NEW');
      test.equal(target(moved.packet), end(who.two, 8080));
      test.end();
    },
  );

  t.test(`two Services with one backend, from one client port (S-68), ${family}`, (test) => {
    bench.addService(web(who, who.one));
    bench.addService({ ...web(who, who.one), address: who.vip2 });
    const other = ip(who.client, who.vip2).tcp({ sport: 40000, dport: 80, flags: 'S' }).bytes();
    establish(who);
    test.equal(bench.run('xdp', other).verdict, 'LEFT_TO_TC', 'tc finds another port for it');
    const moved = bench.run('in', other);
    test.equal(moved.verdict, 'REQUEST_NEW');
    const port = portOf(endsOf(moved.packet).source);
    test.not(port, 40000, 'or its reply could not be told apart');
    test.equal(endsOf(moved.packet).source, end(who.client, port), "the address stays the client's");
    test.equal(
      target(bench.run('out', answer(who, 'A')).packet),
      end(who.client, 40000),
      'the first lives on',
    );
    const reply = ip(who.one, who.client).tcp({ sport: 8080, dport: port, flags: 'SA' }).bytes();
    const { source: from, target: to } = endsOf(bench.run('out', reply).packet);
    test.equal(`${from} > ${to}`, `${end(who.vip2, 80)} > ${end(who.client, 40000)}`);
    establish(who);
    bench.run('in', ask(who, 'R'));
    test.equal(bench.run('xdp', other).verdict, 'LEFT_TO_TC', 'while the first may still be heard of');
    bench.age(testConfig.tcpClosedSec + 1);
    const late = bench.run('xdp', other);
    test.equal(`${late.verdict} ${endsOf(late.packet).source}`, `REQUEST_NEW ${end(who.client, 40000)}`);
    test.end();
  });

  t.test(`rows that change during the look-up, ${family}`, (test) => {
    const stale = (what: string, spoil: (service: Service) => void): void => {
      bench.clearFlows();
      const service = bench.addService(web(who, who.one));
      spoil(service);
      for (const hook of ['in', 'out', 'xdp'] as const) {
        test.equal(bench.run(hook, ask(who, 'S')).verdict, 'DROP_STALE', what);
      }
      test.same([...bench.flows(who.family)], []);
    };
    stale('the service is gone', (service) => bench.removeService(service.id));
    stale('its backend is gone', (service) => service.backendIds.forEach((id) => bench.removeBackend(id)));
    stale('it names a set that is none', (service) => bench.setRow(service.id, { clusterSet: 256 }));
    stale('a position is past its set', () => new Uint16Array(bench.map('slb_maglev').mmap()).fill(7));
    test.end();
  });
}

function fullTable(test: Test, who: Addresses): void {
  const small = new Bench({ sizes: { [`slb_flows${who.family}`]: 2 } });
  try {
    small.addService(web(who, who.one));
    const reply = (port: number): Uint8Array =>
      ip(who.one, who.client)
        .tcp({ sport: 8080, dport: port, flags: 'SA', ...numbersOf('SA') })
        .bytes();
    for (const port of [40000, 40001]) {
      small.run('in', ask(who, 'S', port));
      small.run('out', reply(port));
    }
    test.equal(small.run('in', ask(who, 'A', 40000)).verdict, 'REQUEST', 'the first pair fills the table');
    const second = small.run('in', ask(who, 'A', 40001));
    test.equal(second.verdict, 'REQUEST_HALF_OPEN', 'the second finds no room');
    test.equal(target(second.packet), end(who.one, 8080), 'and is translated all the same');
    const tiers = [...small.flows(who.family).keys()].map((key) => key.split(' ')[0]).sort();
    test.same(tiers, ['flows', 'flows', 'half', 'half'], 'nothing of it is left behind');
    test.equal(
      small.run('in', ask(who, 'A', 40001)).verdict,
      'REQUEST',
      'tried once a second, not with every packet',
    );
    small.age(testConfig.tcpSynSec + 1);
    test.equal(
      small.run('in', ask(who, 'A', 40001)).verdict,
      'REQUEST_HALF_OPEN',
      'it lives as long as one in the table, and asks again',
    );
    test.equal(
      small.run('xdp', ask(who, 'A', 40001)).verdict,
      'REQUEST',
      'XDP has nothing to ask until the next second',
    );
    small.eachFlow('flows', who.family, (key) => small.map(`slb_flows${who.family}`).delete(key)); // as the sweep does
    small.age(2);
    test.equal(small.run('xdp', ask(who, 'A', 40001)).verdict, 'LEFT_TO_TC', 'which is for tc to do');
    test.equal(small.run('in', ask(who, 'A', 40001)).verdict, 'REQUEST', 'until there is room');
    const moved = [...small.flows(who.family).keys()].filter(
      (key) => key.startsWith('flows') && key.includes('40001'),
    );
    test.equal(moved.length, 2);
  } finally {
    small.close();
  }
}

for (const who of bothFamilies) {
  t.test(`a full established table, IPv${who.family}`, (test) => {
    fullTable(test, who);
    test.end();
  });

  t.test(`a flood of first packets evicts half-open flows only, IPv${who.family}`, (test) => {
    const small = new Bench({ sizes: { [`slb_half${who.family}`]: 256 } });
    try {
      small.addService(web(who, who.one));
      small.run('in', ask(who, 'S'));
      small.run('out', answer(who, 'SA'));
      small.run('in', ask(who, 'A'));
      for (let port = 1024; port < 4096; port++) {
        const { verdict } = small.run('in', ask(who, 'S', port));
        if (verdict !== 'REQUEST_NEW') test.fail(`${port}: ${verdict}`);
      }
      test.equal(small.run('in', ask(who, 'A')).verdict, 'REQUEST');
      test.equal(small.run('out', answer(who, 'A')).verdict, 'REPLY');
    } finally {
      small.close();
    }
    test.end();
  });
}
