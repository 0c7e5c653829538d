// The choice of a backend for a new connection: traffic policies, kinds of clients, session affinity.
import '../support/run/alone.ts';
import t from 'tap';
import { slbServiceFlags } from '../../src/abi/layout.gen.ts';
import type { Kind, Service, ServiceSpec } from '../support/kernel/rows.ts';
import { Bench, type Hook } from '../support/kernel/bpfrun.ts';
import { bothFamilies, end, type Addresses } from '../support/packet/addresses.ts';
import { buildNode, describeNode } from '../support/kernel/node.ts';
import { answer, ask, endsOf } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const devices = buildNode();
const bench = new Bench();
const byAddress = new Bench({ config: { podRanges: 1 } });
const masqueradeAll = new Bench({ config: { masqueradeAll: 1 } });
for (const each of [bench, byAddress, masqueradeAll]) {
  t.teardown(() => each.close());
  describeNode(each, devices);
}

type Client = 'pod' | 'outside' | 'host';
const where: Readonly<Record<Client, { readonly hook: Hook; readonly ifindex: number }>> = {
  pod: { hook: 'in', ifindex: devices.pod },
  outside: { hook: 'in', ifindex: devices.uplink },
  host: { hook: 'out', ifindex: devices.uplink },
};
const source = (who: Addresses, client: Client): string => (client === 'host' ? who.node : who.client);

let ports = 1000;
const external = ['external', 'balancer', 'node'] as const;
const dialled = (who: Addresses, kind: Kind): string =>
  ({ cluster: who.vip, external: who.external, balancer: who.balancer, node: who.node })[kind];

/** One backend in each list, so that the list shows. */
const lists = (who: Addresses): ServiceSpec['backends'] => [
  { address: who.one, port: 8080, lists: 'cluster' },
  { address: who.two, port: 8080, lists: 'local' },
];

function spec(who: Addresses, kind: Kind, more: Partial<ServiceSpec> = {}): ServiceSpec {
  const local = ['internal', 'external'] as const;
  return {
    kind,
    address: dialled(who, kind),
    port: ++ports,
    protocol: 'tcp',
    backends: lists(who),
    local,
    ...more,
  };
}

let dials = 10000; // every dial is from a port of its own

/** How a first packet fares: "list/source", or the verdict. */
function fate(who: Addresses, on: Bench, client: Client, service: ServiceSpec): string {
  const { hook, ifindex } = where[client];
  const sport = ++dials;
  const packet = ask(source(who, client), service.address, service.port, { sport });
  const { verdict, packet: sent } = on.run(hook, packet, { ifindex });
  if (verdict !== 'REQUEST_NEW') return verdict;
  const ends = endsOf(sent);
  const list = ends.target === end(who.one, 8080) ? 'cluster' : 'local';
  return `${list}/${ends.source === end(source(who, client), sport) ? 'own' : 'node'}`;
}

interface Row {
  readonly policy: readonly ('internal' | 'external')[];
  readonly kinds: readonly Kind[];
  readonly pod: string;
  readonly outside: string;
  readonly host: string;
}

const rows: readonly Row[] = [
  { policy: [], kinds: ['cluster'], pod: 'cluster/own', outside: 'cluster/node', host: 'cluster/own' },
  { policy: ['internal'], kinds: ['cluster'], pod: 'local/own', outside: 'local/node', host: 'local/own' },
  {
    policy: ['external'],
    kinds: ['cluster'],
    pod: 'cluster/own',
    outside: 'cluster/node',
    host: 'cluster/own',
  },
  { policy: [], kinds: external, pod: 'cluster/node', outside: 'cluster/node', host: 'cluster/own' },
  {
    policy: ['internal'],
    kinds: external,
    pod: 'cluster/node',
    outside: 'cluster/node',
    host: 'cluster/own',
  },
  { policy: ['external'], kinds: external, pod: 'cluster/own', outside: 'local/own', host: 'cluster/own' },
];

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;

  t.test(
    `which backends are used, and which source they see (S-39, S-40, S-63, S-64, S-65), ${family}`,
    (test) => {
      for (const { policy, kinds, ...expected } of rows) {
        for (const kind of kinds) {
          const service = spec(who, kind, { local: policy });
          bench.addService(service);
          const found = Object.fromEntries(
            (['pod', 'outside', 'host'] as const).map((c) => [c, fate(who, bench, c, service)]),
          );
          test.same(found, expected, `${kind}, Local: ${policy.join(' and ') || 'none'}`);
        }
      }
      test.end();
    },
  );

  t.test(`masqueradeAll: backends of cluster addresses see the node (S-63), ${family}`, (test) => {
    const service = spec(who, 'cluster', { local: [] });
    masqueradeAll.addService(service);
    test.equal(fate(who, masqueradeAll, 'pod', service), 'cluster/node');
    test.equal(fate(who, masqueradeAll, 'outside', service), 'cluster/node');
    test.end();
  });

  t.test(`pods recognised by their addresses (S-76), ${family}`, (test) => {
    const range = who.family === 4 ? '10.0.0.0/24' : 'fd00::/64';
    const cluster = spec(who, 'cluster', { local: [] });
    const local = spec(who, 'balancer');
    for (const service of [cluster, local]) byAddress.addService(service);
    test.equal(fate(who, byAddress, 'outside', cluster), 'cluster/node', 'no range has it');
    byAddress.addPodRange(range);
    byAddress.clearFlows();
    test.equal(fate(who, byAddress, 'outside', cluster), 'cluster/own', 'a pod of another node');
    test.equal(
      fate(who, byAddress, 'outside', local),
      'local/own',
      'is not of this node all the same (S-40)',
    );
    test.end();
  });

  t.test(`no endpoint here or none at all (S-43), ${family}`, (test) => {
    const refused = 'REFUSED_RST';
    const cases: readonly [string, Partial<ServiceSpec>, Kind, Record<Client, string>][] = [
      ['none anywhere', { backends: [] }, 'cluster', { pod: refused, outside: refused, host: refused }],
      ['none anywhere', { backends: [] }, 'node', { pod: refused, outside: refused, host: refused }],
      [
        'none here',
        { backends: [{ address: who.one, port: 8080, lists: 'cluster' }] },
        'cluster',
        { pod: 'DROP_NO_LOCAL', outside: 'DROP_NO_LOCAL', host: 'DROP_NO_LOCAL' },
      ],
      [
        'none here',
        { backends: [{ address: who.one, port: 8080, lists: 'cluster' }] },
        'balancer',
        { pod: 'cluster/own', outside: 'DROP_NO_LOCAL', host: 'cluster/own' },
      ],
      [
        'endpoints that no list has',
        { backends: [], flags: slbServiceFlags.SVC_ANY_ENDPOINT },
        'external',
        { pod: 'DROP_NO_LOCAL', outside: 'DROP_NO_LOCAL', host: 'DROP_NO_LOCAL' },
      ],
    ];
    for (const [what, more, kind, expected] of cases) {
      const service = spec(who, kind, more);
      const { id } = bench.addService(service);
      const found = Object.fromEntries(
        (['pod', 'outside', 'host'] as const).map((c) => [c, fate(who, bench, c, service)]),
      );
      test.same(found, expected, `${what}, ${kind}`);
      const turnedAway = Object.values(expected).filter((text) => !text.includes('/')).length;
      test.equal(bench.stats('slb_svc_stats', id).refused, BigInt(turnedAway), 'counted for the service');
    }
    test.end();
  });

  t.test(`XDP forwards packets that are not masqueraded, ${family}`, (test) => {
    const at = { ifindex: devices.uplink };
    const run = (on: Bench, service: ServiceSpec): string =>
      on.run('xdp', ask(who.client, service.address, service.port, { sport: service.port }), at).verdict;
    for (const each of [bench, byAddress]) each.clearFlows();
    for (const kind of external) {
      const local = spec(who, kind);
      bench.addService(local);
      if (!bench.canPlace('xdp')) {
        test.pass('this kernel cannot place a packet at a device', { skip: true });
        continue;
      }
      test.equal(run(bench, local), 'REQUEST_NEW', `${kind}: to a backend of this node`);
      test.equal(run(bench, local), 'REQUEST');
      const cluster = spec(who, kind, { local: [] });
      bench.addService(cluster);
      test.equal(run(bench, cluster), 'LEFT_TO_TC', `${kind}: masqueraded`);
      const none = spec(who, kind, { backends: [{ address: who.one, port: 8080, lists: 'cluster' }] });
      bench.addService(none);
      test.equal(run(bench, none), 'DROP_NO_LOCAL');
      const empty = spec(who, kind, { backends: [] });
      bench.addService(empty);
      test.equal(run(bench, empty), 'LEFT_TO_TC', `${kind}: tc says no`);
    }
    const cluster = spec(who, 'cluster', { local: [] });
    for (const each of [bench, byAddress]) each.addService(cluster);
    if (bench.canPlace('xdp')) {
      test.equal(run(bench, cluster), 'LEFT_TO_TC', 'from outside to a cluster address is masqueraded');
      test.equal(run(byAddress, cluster), 'REQUEST_NEW', 'from a pod of another node it is not');
    }
    test.end();
  });
}

// ─── Session affinity ────────────────────────────────────────────────────────────────────────────────────────────────

const hour = 3600;

for (const who of bothFamilies) {
  const family = `IPv${who.family}`;
  const three = [who.one, who.two, who.far].map((address) => ({ address, port: 8080 }));
  const sticky = (more: Partial<ServiceSpec> = {}): ServiceSpec =>
    spec(who, 'cluster', { local: [], backends: three, affinitySec: hour, ...more });
  let sport = 20000;
  const to = (
    service: ServiceSpec,
    address = service.address,
    port = service.port,
    client = who.client,
    on = bench,
  ): string => {
    const { packet, verdict } = on.run('in', ask(client, address, port, { sport: ++sport }), {
      ifindex: devices.pod,
    });
    return verdict === 'REQUEST_NEW' ? endsOf(packet).target : verdict;
  };
  const spread = (dial: () => string): number => new Set(Array.from({ length: 24 }, dial)).size;
  const clients = Array.from({ length: 16 }, (_, i) =>
    who.family === 4 ? `10.0.7.${i + 1}` : `fd00:7::${i + 1}`,
  );
  const counted = (what: 'KEPT' | 'NEW' | 'MOVED', action: () => void): bigint => {
    const before = bench.counters()[`AFFINITY_${what}`];
    action();
    return bench.counters()[`AFFINITY_${what}`] - before;
  };

  t.test(
    `session affinity keeps a client at its backend, and spreads clients (S-77, S-82, S-83), ${family}`,
    (test) => {
      const plain = sticky({ affinitySec: 0 });
      bench.addService(plain);
      test.equal(
        spread(() => to(plain)),
        3,
        'without affinity every connection is for itself',
      );
      const service = sticky();
      bench.addService(service);
      const first = counted('NEW', () =>
        test.equal(
          spread(() => to(service)),
          1,
        ),
      );
      test.equal(first, 1n);
      test.equal(
        counted('KEPT', () => to(service)),
        1n,
      );
      const homes = clients.map((client) => to(service, who.vip, service.port, client));
      test.equal(new Set(homes).size, 3, 'by their addresses');
      test.same(
        clients.map((client) => to(service, who.vip, service.port, client)),
        homes,
      );
      test.end();
    },
  );

  t.test(`all frontends of a Service port share affinity (S-77), ${family}`, (test) => {
    const more = external.map((kind) => ({ kind, address: dialled(who, kind), port: ++ports }));
    const service = sticky({ more });
    bench.addService(service);
    for (const client of clients) {
      const homes = [service, ...more].map(({ address, port }) => to(service, address, port, client));
      test.equal(new Set(homes).size, 1, client);
    }
    test.end();
  });

  t.test(`each Service port has its own affinity, ${family}`, (test) => {
    const one = sticky();
    const other = sticky({ backends: three.map(({ address }) => ({ address, port: 9090 })) });
    bench.addService(one);
    bench.addService(other);
    for (const client of clients) to(one, who.vip, one.port, client);
    test.equal(
      counted('NEW', () => clients.forEach((client) => to(other, who.vip, other.port, client))),
      16n,
    );
    test.end();
  });

  t.test(`every node sends a client to the same backend, ${family}`, (test) => {
    const service = sticky();
    for (const each of [bench, masqueradeAll]) each.addService(service);
    const here = clients.map((client) => to(service, who.vip, service.port, client));
    const there = clients.map((client) => to(service, who.vip, service.port, client, masqueradeAll));
    test.same(here, there);
    test.end();
  });

  t.test(`the affinity timeout runs from the last new connection (S-78), ${family}`, (test) => {
    const service = sticky();
    bench.addService(service);
    const home = to(service);
    for (let i = 0; i < 6; i++) {
      bench.ageAffinity(hour / 2);
      test.equal(to(service), home, 'each connection begins it anew');
    }
    bench.ageAffinity(hour - 5);
    const packet = ask(who.client, who.vip, service.port, { sport, flags: 'A' });
    test.equal(bench.run('in', packet, { ifindex: devices.pod }).verdict, 'REQUEST');
    bench.ageAffinity(10);
    test.equal(
      counted('NEW', () => to(service)),
      1n,
      'a packet in between does not',
    );
    const homes = Array.from({ length: 24 }, () => {
      bench.ageAffinity(hour + 1);
      return to(service);
    });
    test.equal(new Set(homes).size, 3, 'whose time is up is spread like any other');
    test.end();
  });

  t.test(`affinity to a backend that is not ready is dropped (S-79), ${family}`, (test) => {
    const service = sticky();
    let made: Service = bench.addService(service);
    const home = to(service);
    const rest = three.filter(({ address, port }) => end(address, port) !== home);
    made = bench.replaceBackends(made, { ...service, backends: rest });
    let next = '';
    test.equal(
      counted('MOVED', () => (next = to(service))),
      1n,
      'its backend is gone',
    );
    test.not(next, home);
    test.equal(
      spread(() => to(service)),
      1,
      'and it stays with the next',
    );
    test.equal(to(service), next);
    const at = rest.findIndex(({ address, port }) => end(address, port) === next);
    const [id = 0, backend] = [made.backendIds[at], rest[at]];
    if (backend === undefined) throw new Error('the client was sent nowhere');
    bench.setLists(id, made.id, { ...backend, lists: 'local' }, 'tcp');
    test.equal(
      counted('MOVED', () => to(service)) > 0n,
      true,
      'nor may one that is not in the list of this frontend',
    );
    test.end();
  });

  t.test(`affinity holds only for backends that the traffic policy allows (S-79), ${family}`, (test) => {
    const service = sticky({
      kind: 'balancer',
      address: who.balancer,
      local: ['external'],
      backends: lists(who),
    });
    bench.addService(service);
    const dial = (ifindex: number): string =>
      endsOf(
        bench.run('in', ask(who.client, who.balancer, service.port, { sport: ++sport }), { ifindex }).packet,
      ).target;
    test.equal(dial(devices.pod), end(who.one, 8080));
    test.equal(dial(devices.uplink), end(who.two, 8080));
    test.equal(dial(devices.uplink), end(who.two, 8080));
    test.equal(dial(devices.pod), end(who.one, 8080), 'the entry goes back and forth');
    test.end();
  });

  t.test(`affinity is switched on and off at run time (S-80), ${family}`, (test) => {
    const service = sticky();
    const made = bench.addService(service);
    const row = { clusterSet: bench.serviceRow(made.id).clusterSet, flags: slbServiceFlags.SVC_ANY_ENDPOINT };
    const home = to(service);
    bench.setRow(made.id, row);
    test.equal(
      spread(() => to(service)),
      3,
      'off: spread at once',
    );
    bench.setRow(made.id, { ...row, affinitySec: hour });
    test.equal(to(service), home, 'on again before its time is up');
    bench.setRow(made.id, row);
    bench.ageAffinity(hour + 1);
    bench.setRow(made.id, { ...row, affinitySec: hour });
    test.equal(
      counted('KEPT', () => to(service)),
      0n,
      'an old entry does not come to life again',
    );
    bench.setRow(made.id, { ...row, affinitySec: 10 });
    bench.ageAffinity(11);
    test.equal(
      counted('KEPT', () => to(service)),
      0n,
      'a shorter time holds at once',
    );
    test.end();
  });

  t.test(`a UDP flow stays with its backend whatever affinity says (S-81), ${family}`, (test) => {
    const service = sticky({ protocol: 'udp' });
    bench.addService(service);
    const packet = ask(who.client, who.vip, service.port, { protocol: 'udp', sport: 30001 });
    const run = (): string => endsOf(bench.run('in', packet, { ifindex: devices.pod }).packet).target;
    const home = run();
    const reply = answer(home.replace(/[[\]]|:8080$/g, ''), 8080, who.client, 30001, 'udp');
    test.equal(
      bench.run('out', reply, { ifindex: devices.pod, forwarded: bench.canForward() }).verdict,
      'REPLY',
    );
    bench.ageAffinity(2 * hour);
    test.equal(run(), home);
    test.end();
  });
}
