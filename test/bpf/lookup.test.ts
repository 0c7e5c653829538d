// The look-up of a Service: frontends, addresses of the node, and source ranges.
import '../support/run/alone.ts';
import t from 'tap';
import { slbAddressFlags } from '../../src/abi/layout.gen.ts';
import type { ServiceSpec } from '../support/kernel/rows.ts';
import { bothFamilies, end, ip, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { benchOnNode } from '../support/kernel/node.ts';
import { ask, endsOf, transports, type Transport } from '../support/packet/probe.ts';

t.setTimeout(120_000);
const { devices, bench, pod, uplink } = benchOnNode(t);

let ports = 1000; // every service has one of its own, so that none is in another's way
const spec = (who: Addresses, protocol: Transport, spec: Partial<ServiceSpec> = {}): ServiceSpec => ({
  address: who.vip,
  port: ++ports,
  protocol,
  backends: [{ address: who.one, port: 8080 }],
  ...spec,
});

/** The service, once it is there. */
function added(service: ServiceSpec): ServiceSpec {
  bench.addService(service);
  return service;
}

for (const who of bothFamilies) {
  for (const protocol of transports) {
    const title = `IPv${who.family}, ${protocol}`;
    const from = (packet: Uint8Array): string => {
      const { verdict, packet: sent } = bench.run('in', packet, pod);
      return verdict === 'REQUEST_NEW' ? endsOf(sent).target : verdict;
    };

    t.test(`an exact frontend goes before a NodePort (S-51), ${title}`, (test) => {
      const port = ++ports;
      const shared = who.family === 4 ? '192.0.2.98' : '2001:db8::98';
      bench.addNodeAddress(shared);
      bench.addService(spec(who, protocol, { kind: 'external', address: shared, port }));
      const two = [{ address: who.two, port: 8080 }];
      bench.addService(spec(who, protocol, { kind: 'node', port, backends: two }));
      test.equal(
        from(ask(who.client, shared, port, { protocol })),
        end(who.one, 8080),
        'at the address that both have',
      );
      test.equal(from(ask(who.client, who.gateway, port, { protocol })), end(who.two, 8080), 'at the other');
      test.end();
    });

    t.test(`a NodePort answers at the node port addresses alone (S-53, S-56), ${title}`, (test) => {
      const { port } = added(spec(who, protocol, { kind: 'node' }));
      const packet = (dst: string, dport = port): Uint8Array => ask(who.client, dst, dport, { protocol });
      for (const address of [who.node, who.gateway]) test.equal(from(packet(address)), end(who.one, 8080));
      const silent = who.family === 4 ? '192.0.2.99' : '2001:db8::99';
      bench.addNodeAddress(silent, { nodePort: false });
      test.equal(from(packet(silent)), 'NOT_OURS', 'not at one that --nodeport-addresses leaves out');
      test.equal(from(packet(who.other)), 'NOT_OURS', 'nor at one that is not this node');
      test.equal(from(packet(who.node, port + 1)), 'NOT_OURS', 'other ports are those of the host (S-55)');
      bench.addService(spec(who, protocol, { kind: 'external', address: who.external }));
      test.equal(from(packet(who.external)), 'NO_SUCH_PORT', 'nor at a service address');
      test.end();
    });

    t.test(`the same port with another protocol is another frontend (S-8, S-54), ${title}`, (test) => {
      const { port } = added(spec(who, protocol, { kind: 'node' }));
      const other = protocol === 'tcp' ? 'udp' : 'tcp';
      test.equal(from(ask(who.client, who.node, port, { protocol: other })), 'NOT_OURS');
      test.equal(from(ask(who.client, who.node, port, { protocol })), end(who.one, 8080));
      test.end();
    });

    t.test(`NodePorts at loopback answer this host alone (S-57), ${title}`, (test) => {
      const { port } = added(spec(who, protocol, { kind: 'node' }));
      for (const [hook, at] of [
        ['in', pod],
        ['in', uplink],
        ['xdp', uplink],
      ] as const) {
        const forged = bench.run(hook, ask(who.client, who.loopback, port, { protocol }), at);
        test.equal(forged.verdict, 'NOT_OURS', 'from a wire they are forged');
      }
      const external = added(spec(who, protocol, { kind: 'external', address: who.external })).port;
      for (const hook of ['in', 'xdp'] as const) {
        const source = ask(who.loopback, who.external, external, { protocol });
        test.equal(
          bench.run(hook, source, uplink).verdict,
          'NOT_OURS',
          'as a source too: masquerading would let it in',
        );
      }
      const own = bench.run('out', ask(who.loopback, who.loopback, port, { protocol }), {
        ifindex: devices.lo,
      });
      test.equal(own.verdict, 'REQUEST_NEW');
      test.equal(endsOf(own.packet).target, end(who.one, 8080));
      test.not(
        endsOf(own.packet).source,
        end(who.loopback, 40000),
        'no other host sees such an address (S-67)',
      );
      test.end();
    });

    t.test(`a cluster address that the node has bound is left alone (S-48), ${title}`, (test) => {
      const address = `${who.family === 4 ? '10.96.1.' : 'fd96::1:'}${protocol === 'tcp' ? 6 : 17}`;
      const { port } = added(spec(who, protocol, { address }));
      test.equal(from(ask(who.client, address, port, { protocol })), end(who.one, 8080));
      bench.addAddress(address, slbAddressFlags.ADDR_NODE);
      for (const hook of ['in', 'out', 'xdp'] as const) {
        for (const dport of [port, port + 1]) {
          const packet = ask(who.client, address, dport, { protocol, sport: 40001 });
          const outcome = bench.run(hook, packet);
          test.equal(outcome.verdict, 'OWN_ADDRESS', hook);
          test.same(outcome.packet, packet);
        }
      }
      test.end();
    });

    t.test(`other ports of Service addresses (S-48), ${title}`, (test) => {
      bench.addService(spec(who, protocol));
      for (const [kind, address] of [
        ['external', who.external],
        ['balancer', who.balancer],
      ] as const) {
        bench.addService(spec(who, protocol, { kind, address }));
        test.equal(
          from(ask(who.client, address, 1, { protocol })),
          'NO_SUCH_PORT',
          'may belong to another host',
        );
      }
      for (const hook of ['in', 'out'] as const) {
        const outcome = bench.run(hook, ask(who.client, who.vip, 1, { protocol }));
        test.equal(outcome.verdict, 'REFUSED_PORT', 'no host has a cluster address');
        test.equal(outcome.action, 'redirect', 'sent back');
        const text = show(outcome.packet);
        const expected =
          protocol === 'tcp'
            ? `${end(who.vip, 1)} > ${end(who.client, 40000)} TCP RA`
            : `${who.vip} > ${who.client} ICMP ${who.family === 4 ? '3/3' : '1/4'}`;
        test.ok(text.startsWith(expected), text);
        test.notMatch(text, /sum/);
      }
      test.equal(bench.run('xdp', ask(who.client, who.vip, 1, { protocol })).verdict, 'LEFT_TO_TC');
      test.end();
    });

    t.test(`all frontends of a Service port have the same backends (S-58, S-59), ${title}`, (test) => {
      const service = spec(who, protocol, {
        more: [
          { kind: 'external', address: who.external, port: 80 },
          { kind: 'balancer', address: who.balancer, port: 80 },
          { kind: 'node', address: who.node, port: 30000 + ports },
        ],
      });
      const { id } = bench.addService(service);
      const dials = [
        [who.vip, service.port],
        [who.external, 80],
        [who.balancer, 80],
        [who.node, service.more?.[2]?.port ?? 0],
      ] as const;
      for (const [address, port] of dials) {
        test.equal(from(ask(who.client, address, port, { protocol })), end(who.one, 8080), address);
      }
      test.equal(bench.stats('slb_svc_stats', id).connections, 4n);
      test.end();
    });
  }

  t.test(`a refused port is refused for every protocol, IPv${who.family}`, (test) => {
    const echo = ip(who.client, who.vip)
      .icmp({ type: who.family === 4 ? 8 : 128 })
      .bytes();
    for (const hook of ['in', 'out'] as const) {
      test.equal(bench.run(hook, echo).verdict, 'OTHER_PROTOCOL', 'an echo request passes (S-84)');
    }
    test.end();
  });
}

// ─── Source ranges ───────────────────────────────────────────────────────────────────────────────────────────────────

interface Ranges {
  readonly inside: string;
  readonly outside: string;
  readonly allow: string;
  readonly halves: readonly string[];
  readonly host: string;
}

const ranges: Readonly<Record<4 | 6, Ranges>> = {
  4: {
    inside: '203.0.113.20',
    outside: '203.0.114.20',
    allow: '203.0.113.0/24',
    halves: ['0.0.0.0/1', '128.0.0.0/1'],
    host: '203.0.114.20/32',
  },
  6: {
    inside: '2001:db8:7::20',
    outside: '2001:db8:8::20',
    allow: '2001:db8:7::/48',
    halves: ['::/1', '8000::/1'],
    host: '2001:db8:8::20/128',
  },
};

const kinds = ['cluster', 'external', 'balancer', 'node'] as const;

for (const who of bothFamilies) {
  const { inside, outside, allow, halves, host } = ranges[who.family];
  const dial = { cluster: who.vip, external: who.external, balancer: who.balancer, node: who.node };
  /** Whether the service lets the client in, by frontend. */
  const admitted = (
    more: Partial<ServiceSpec>,
    source: string,
    backends = [{ address: who.one, port: 8080 }],
  ): string[] =>
    kinds.map((kind) => {
      const full = spec(who, 'tcp', { ...more, kind, address: dial[kind], backends });
      const { id } = bench.addService(full);
      const { verdict } = bench.run('in', ask(source, dial[kind], full.port), uplink);
      const { refused } = bench.stats('slb_svc_stats', id);
      return verdict === 'REQUEST_NEW' ? `${kind} ${refused}` : `${kind} ${refused} ${verdict}`;
    });
  const none = kinds.map((kind) => `${kind} 0`);
  const dropped = (...which: readonly string[]): string[] =>
    kinds.map((kind) => (which.includes(kind) ? `${kind} 1 DROP_SOURCE` : `${kind} 0`));

  t.test(`source ranges of load balancer addresses (S-61), IPv${who.family}`, (test) => {
    test.same(admitted({ allow: [allow] }, inside), none, 'a source in the range');
    test.same(
      admitted({ allow: [allow] }, outside),
      dropped('balancer'),
      'a source in none: the other frontends do not ask',
    );
    test.same(admitted({ allow: halves }, inside), none, 'both halves are everything');
    test.same(admitted({ allow: halves }, outside), none);
    test.same(
      admitted({ allow: [halves[0] ?? ''] }, who.family === 4 ? outside : '8001::1'),
      dropped('balancer'),
      'one half is not',
    );
    test.same(admitted({ allow: [who.family === 4 ? '0.0.0.0/0' : '::/0'] }, outside), none);
    test.same(admitted({ allow: [allow, host] }, outside), none, 'one address as a range');
    const refusal = admitted({ allow: [allow] }, outside, []);
    test.equal(refusal[2], 'balancer 1 DROP_SOURCE', 'asked before endpoints (S-47)');
    test.equal(refusal[1], 'external 1 REFUSED_RST');
    test.end();
  });

  t.test(`denied sources, IPv${who.family}`, (test) => {
    test.same(admitted({ deny: [allow] }, outside), none);
    test.same(
      admitted({ deny: [allow] }, inside),
      dropped('external', 'balancer', 'node'),
      'everywhere but at the cluster address',
    );
    test.same(
      admitted({ deny: [allow], allow: [allow] }, inside),
      dropped('external', 'balancer', 'node'),
      'a denial wins',
    );
    test.end();
  });

  t.test(`source ranges are checked for new connections only (S-61), IPv${who.family}`, (test) => {
    const service = spec(who, 'tcp', { kind: 'balancer', address: who.balancer, local: ['external'] });
    const made = bench.addService(service);
    bench.run('in', ask(inside, who.balancer, service.port), uplink);
    bench.replaceBackends({ id: made.id, backendIds: [] }, { ...service, deny: [allow] });
    const later = ask(inside, who.balancer, service.port, { flags: 'A' });
    test.equal(bench.run('in', later, uplink).verdict, 'REQUEST', 'a connection goes on');
    test.equal(
      bench.run('in', ask(inside, who.balancer, service.port, { sport: 40009 }), uplink).verdict,
      'DROP_SOURCE',
    );
    test.equal(
      bench.run('xdp', ask(inside, who.balancer, service.port, { sport: 40009 }), uplink).action,
      'drop',
      'also in XDP',
    );
    test.end();
  });
}
