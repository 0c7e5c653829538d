// Reverse-path filtering (RFC 3704) of packets that the programs redirect or answer: the kernel's rp_filter never
// sees them.
//
//   outside ── router ── up0 [ node ] pod0, br0 ─ port0   pods of this node
//                                                       up0.7: a VLAN; ways0, ways1: two routes to 10.9.0.0/16
import '../support/run/alone.ts';
import t from 'tap';
import { indexOf, ip as run } from '../support/run/alone.ts';
import { ownMac, type DeviceSpec } from '../support/kernel/rows.ts';
import { bothFamilies, ip } from '../support/packet/addresses.ts';
import { benchOnNode } from '../support/kernel/node.ts';

t.setTimeout(120_000);
const { bench, devices } = benchOnNode(t);
run(
  'link add br0 type bridge',
  'link add port0 type veth peer name port0-far',
  'link set port0 master br0',
  'link add up0.7 type veth peer name up0.7-far', // not every kernel has VLANs: the programs know rows alone
  'link add ways0 type veth peer name ways0-far',
  'link add ways1 type veth peer name ways1-far',
  ...['br0', 'port0', 'up0.7', 'ways0', 'ways1'].map((device) => `link set ${device} address ${ownMac}`),
  ...['br0', 'port0', 'port0-far', 'up0.7', 'up0.7-far', 'ways0', 'ways0-far', 'ways1', 'ways1-far'].map(
    (device) => `link set ${device} up`,
  ),
  'addr add 10.5.0.254/24 dev br0',
  'addr add fd05::fe/64 dev br0 nodad',
  'addr add 10.7.0.254/24 dev up0.7',
  'addr add fd07::fe/64 dev up0.7 nodad',
  'addr add 10.8.0.254/24 dev ways0',
  'addr add 10.8.1.254/24 dev ways1',
  'route add 10.9.0.0/16 nexthop via 10.8.0.1 dev ways0 nexthop via 10.8.1.1 dev ways1',
  // A routing policy for what pods send, which says nothing of the ways to them.
  'route add default dev up0 table 77',
  'rule add iif pod0 to 10.1.0.0/16 lookup 77',
);
const [bridge, port, tagged] = [indexOf('br0'), indexOf('port0'), indexOf('up0.7')];
const [ways0, ways1] = [indexOf('ways0'), indexOf('ways1')];

type Filter = 0 | 1 | 2;
/** Both families alike, where a row of the agent says so. */
const filtered = (filter: Filter): Pick<DeviceSpec, 'rpFilter' | 'rpFilter6'> => ({
  rpFilter: filter,
  rpFilter6: filter,
});

function setFilters(filter: Filter): void {
  for (const ifindex of [devices.pod, devices.uplink])
    bench.addDevice(ifindex, {
      role: ifindex === devices.pod ? 'pod' : 'uplink',
      ...filtered(filter),
      ...nodeAddresses,
    });
  bench.addDevice(port, { role: 'pod', bridge, ...filtered(filter) });
  bench.addDevice(tagged, { role: 'uplink', lower: devices.uplink, vlan: 7, ...filtered(filter) });
  for (const ifindex of [ways0, ways1]) bench.addDevice(ifindex, { role: 'uplink', ...filtered(filter) });
}
const [four, six] = bothFamilies;
const nodeAddresses = { addr4: four?.node ?? '', addr6: six?.node ?? '' };

const withTag = (packet: Uint8Array, ...ids: readonly number[]): Uint8Array =>
  Uint8Array.from([
    ...packet.subarray(0, 12),
    ...ids.flatMap((id) => [0x81, 0, id >> 8, id & 255]),
    ...packet.subarray(12),
  ]);

interface Source {
  readonly what: string;
  readonly at: number;
  readonly tags?: readonly number[];
  readonly 4?: string;
  readonly 6?: string;
  /** With rp_filter 0, 1 and 2. */
  readonly passes: readonly [boolean, boolean, boolean];
}

const [always, never] = [
  [true, true, true],
  [false, false, false],
] as const;
const [notStrict, routed] = [
  [true, false, true],
  [true, false, false],
] as const;
const sources: readonly Source[] = [
  { what: 'a pod at its own cable', at: devices.pod, 4: '10.1.0.7', 6: 'fd01::7', passes: always },
  {
    what: 'a pod with the address of one behind a bridge',
    at: devices.pod,
    4: '10.5.0.7',
    6: 'fd05::7',
    passes: notStrict,
  },
  {
    what: 'a pod with an address from outside',
    at: devices.pod,
    4: '10.0.0.1',
    6: 'fd00::1',
    passes: notStrict,
  },
  {
    what: 'a pod with an address to which no way leads',
    at: devices.pod,
    4: '10.3.0.1',
    6: 'fd03::1',
    passes: routed,
  },
  {
    what: "a pod with this node's address",
    at: devices.pod,
    4: '192.0.2.2',
    6: '2001:db8::2',
    passes: never,
  },
  {
    what: "a pod with its gateway's address",
    at: devices.pod,
    4: '10.1.0.254',
    6: 'fd01::fe',
    passes: never,
  },
  { what: 'a multicast address', at: devices.pod, 4: '224.0.0.9', passes: never },
  { what: 'no address', at: devices.pod, 4: '0.0.0.0', 6: '::', passes: never },
  { what: 'the broadcast address', at: devices.pod, 4: '255.255.255.255', passes: never },
  { what: 'a link-local address', at: devices.pod, 6: 'fe80::7', passes: always },
  { what: 'a pod at a port of a bridge', at: port, 4: '10.5.0.7', 6: 'fd05::7', passes: always },
  {
    what: 'a pod there with the address of one elsewhere',
    at: port,
    4: '10.1.0.7',
    6: 'fd01::7',
    passes: notStrict,
  },
  { what: 'a client behind the router', at: devices.uplink, 4: '10.0.0.1', 6: 'fd00::1', passes: always },
  {
    what: "a client there with a pod's address",
    at: devices.uplink,
    4: '10.1.0.7',
    6: 'fd01::7',
    passes: notStrict,
  },
  {
    what: 'a client of a VLAN, seen at the device below',
    at: devices.uplink,
    tags: [7],
    4: '10.7.0.7',
    6: 'fd07::7',
    passes: always,
  },
  { what: 'the same without its tag', at: devices.uplink, 4: '10.7.0.7', 6: 'fd07::7', passes: notStrict },
  {
    what: "the same with another VLAN's",
    at: devices.uplink,
    tags: [8],
    4: '10.7.0.7',
    6: 'fd07::7',
    passes: notStrict,
  },
  {
    what: 'the same with a priority alone',
    at: devices.uplink,
    tags: [0],
    4: '10.0.0.1',
    6: 'fd00::1',
    passes: always,
  },
  {
    what: 'a tagged client of no VLAN',
    at: devices.uplink,
    tags: [7],
    4: '10.0.0.1',
    6: 'fd00::1',
    passes: notStrict,
  },
  {
    what: 'a client of a VLAN in a VLAN',
    at: devices.uplink,
    tags: [7, 9],
    4: '10.0.0.1',
    6: 'fd00::1',
    passes: always,
  },
  { what: 'a VLAN at its own device', at: tagged, 4: '10.7.0.7', 6: 'fd07::7', passes: always },
  ...[ways0, ways1].map((at) => ({
    what: `a client to which two ways lead, by way ${String(at - ways0)}`,
    at,
    4: '10.9.1.7',
    passes: always,
  })),
  { what: 'the same by neither', at: devices.pod, 4: '10.9.1.7', passes: notStrict },
];

for (const who of bothFamilies) {
  const web = { port: 80, protocol: 'tcp', backends: [{ address: who.far, port: 8080 }] } as const;
  bench.addService({ ...web, kind: 'external', address: who.external });
  bench.addService({ ...web, kind: 'balancer', address: who.balancer, allow: ['0.0.0.0/0', '::/0'] });
  bench.addService({ address: who.empty, port: 80, protocol: 'tcp', backends: [] });
  bench.addService({ address: who.empty, port: 53, protocol: 'udp', backends: [] });
  bench.addService({
    address: who.vip,
    port: 80,
    protocol: 'tcp',
    backends: [{ address: who.one, port: 8080 }],
  });
  const run4or6 = ({ at, tags = [] }: Source, packet: Uint8Array): string =>
    bench.run('in', withTag(packet, ...tags), { ifindex: at }).verdict;
  const syn = (src: string, dst: string) => ip(src, dst).tcp({ sport: 40000, dport: 80, flags: 'S' }).bytes();

  for (const source of sources.filter((one) => one[who.family] !== undefined)) {
    t.test(
      `${source.what}: masqueraded or rejected only if rp_filter accepts the source (S-61, S-64), IPv${String(who.family)}`,
      (test) => {
        const src = source[who.family] ?? '';
        for (const filter of [0, 1, 2] as const) {
          setFilters(filter);
          bench.clearAll();
          const expected = (verdict: string): string => (source.passes[filter] ? verdict : 'DROP_MARTIAN');
          const said = `rp_filter ${String(filter)}`;
          for (const dst of [who.external, who.balancer])
            test.equal(run4or6(source, syn(src, dst)), expected('REQUEST_NEW'), said);
          test.equal(
            bench.flows(who.family).size,
            source.passes[filter] ? 4 : 0,
            'flows are those of what was sent',
          );
          test.equal(run4or6(source, syn(src, who.empty)), expected('REFUSED_RST'), said);
          const datagram = ip(src, who.empty).udp({ sport: 40000, dport: 53 }).bytes();
          test.equal(run4or6(source, datagram), expected('REFUSED_UNREACHABLE'), said);
          test.equal(
            run4or6(source, syn(src, who.vip)),
            source.at === devices.pod || source.at === port ? 'REQUEST_NEW' : expected('REQUEST_NEW'),
            'what the stack gets it judges itself',
          );
        }
        test.end();
      },
    );
  }

  t.test(
    `the source of a hairpin is checked at its first packet alone (S-66), IPv${String(who.family)}`,
    (test) => {
      bench.clearAll();
      setFilters(1);
      const pod = { ifindex: devices.pod };
      test.equal(bench.run('in', syn(who.one, who.vip), { ifindex: port }).verdict, 'DROP_MARTIAN');
      test.equal(bench.run('in', syn(who.one, who.vip), pod).verdict, 'HAIRPIN');
      test.equal(bench.run('in', syn(who.one, who.external), pod).verdict, 'REQUEST_NEW');
      const later = ip(who.one, who.external)
        .tcp({ sport: 40000, dport: 80, flags: 'A', seq: 1, ack: 1 })
        .bytes();
      test.equal(bench.run('in', later, { ifindex: port }).verdict, 'REQUEST', 'a known flow');
      test.end();
    },
  );

  t.test(
    `the source of an ICMP error about a masqueraded connection is checked (S-84), IPv${String(who.family)}`,
    (test) => {
      bench.clearAll();
      setFilters(1);
      test.equal(
        bench.run('in', syn(who.client, who.external), { ifindex: devices.uplink }).verdict,
        'REQUEST_NEW',
      );
      const quoted = ip(who.node, who.far)
        .tcp({ sport: 40000, dport: 8080, flags: 'S' })
        .bytes()
        .subarray(14);
      const error = (src: string): Uint8Array => {
        const packet = ip(src, who.node);
        return who.family === 4
          ? packet.icmp({ type: 3, code: 1 }).payload(quoted).bytes()
          : packet.icmp({ type: 1, code: 3 }).payload(quoted).bytes();
      };
      test.equal(bench.run('in', error(who.router), { ifindex: devices.uplink }).verdict, 'ICMP_REPLY');
      test.equal(bench.run('in', error(who.far), { ifindex: devices.uplink }).verdict, 'ICMP_REPLY');
      test.equal(bench.run('in', error(who.router), { ifindex: devices.pod }).verdict, 'DROP_MARTIAN');
      test.equal(bench.run('in', error(who.two), { ifindex: devices.uplink }).verdict, 'DROP_MARTIAN');
      test.equal(bench.run('in', error(who.node), { ifindex: devices.uplink }).verdict, 'DROP_MARTIAN');
      test.end();
    },
  );
}
