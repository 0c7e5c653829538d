// The fast path is taken by plain packets of established flows that were stamped within the last second. A flow that
// was stamped earlier takes the pipeline, and a frame with a VLAN tag the parser too. Whatever the packet, all must do
// the same: to it, to the flow, and to every counter.
import '../support/run/alone.ts';
import t, { type Test } from 'tap';
import { encode } from '../../src/abi/codec.ts';
import {
  slbFlow,
  slbFlowFlags,
  slbLimits,
  slbForward,
  type MapName,
  type SlbFlowRow,
} from '../../src/abi/layout.gen.ts';
import { u32, type Service, type ServiceSpec } from '../support/kernel/rows.ts';
import { Bench, type Hook, type RunOptions } from '../support/kernel/bpfrun.ts';
import { bothFamilies, ip, type Addresses } from '../support/packet/addresses.ts';
import { show } from '../support/packet/dissect.ts';
import { buildNode, describeNode } from '../support/kernel/node.ts';
import {
  eth,
  type Ip4Fields,
  type Ip6Fields,
  type TcpFields,
  type UdpFields,
} from '../support/packet/packet.ts';
import { numbersOf, transports, type Transport } from '../support/packet/probe.ts';

t.setTimeout(300_000);
const devices = buildNode();
const bench = new Bench();
t.teardown(() => bench.close());
describeNode(bench, devices);

const up = { ifindex: devices.uplink };
const pod = { ifindex: devices.pod };

interface Served extends ServiceSpec, Service {}

/** A packet's way through a hook: the ends that it has there, and where that is. */
interface Road {
  readonly name: string;
  readonly service: Served;
  readonly hook: Hook;
  readonly at: RunOptions;
  readonly from: string;
  readonly to: string;
  readonly sport: number;
  readonly dport: number;
  readonly plain: string; // verdict of a plain packet
}

function roadsOf(who: Addresses, protocol: Transport): Road[] {
  const backends = [{ address: who.far, port: 8080 }];
  const added = (spec: ServiceSpec): Served => ({ ...spec, ...bench.addService(spec) });
  const keeps = added({ address: who.vip, port: 80, protocol, backends });
  const hides = added({ address: who.external, kind: 'external', port: 80, protocol, backends });
  const ask = { from: who.client, sport: 40000, dport: 80 };
  const answer = { from: who.far, sport: 8080, dport: 40000 };
  const back = { ...answer, to: who.client };
  return [
    { name: 'request, tc', service: keeps, hook: 'in', at: pod, ...ask, to: who.vip, plain: 'REQUEST next' },
    {
      name: 'request, XDP',
      service: keeps,
      hook: 'xdp',
      at: pod,
      ...ask,
      to: who.vip,
      plain: 'REQUEST pass',
    },
    {
      name: 'request, egress',
      service: keeps,
      hook: 'out',
      at: up,
      ...ask,
      to: who.vip,
      plain: 'OTHER_HOOK next',
    },
    { name: 'reply, tc', service: keeps, hook: 'out', at: pod, ...back, plain: 'REPLY next' },
    { name: 'reply, ingress', service: keeps, hook: 'in', at: up, ...back, plain: 'OTHER_HOOK next' },
    { name: 'reply, XDP', service: keeps, hook: 'xdp', at: up, ...back, plain: 'OTHER_HOOK pass' },
    {
      name: 'masqueraded',
      service: hides,
      hook: 'in',
      at: up,
      ...ask,
      to: who.external,
      plain: 'REQUEST redirect',
    },
    {
      name: 'masqueraded, XDP',
      service: hides,
      hook: 'xdp',
      at: up,
      ...ask,
      to: who.external,
      plain: 'LEFT_TO_TC pass',
    },
    {
      name: 'masqueraded reply, XDP',
      service: hides,
      hook: 'xdp',
      at: up,
      ...answer,
      to: who.node,
      plain: 'LEFT_TO_TC pass',
    },
    {
      name: 'masqueraded reply',
      service: hides,
      hook: 'in',
      at: up,
      ...answer,
      to: who.node,
      plain: 'REPLY redirect',
    },
  ];
}

interface Shape {
  readonly name: string;
  /** Nothing that the pipeline would have to see. */
  readonly plain?: boolean;
  readonly ip4?: Partial<Ip4Fields>;
  readonly ip6?: Partial<Ip6Fields>;
  readonly tcp?: Partial<TcpFields>;
  readonly udp?: Partial<UdpFields>;
  readonly mac?: string;
  readonly payload?: number;
  readonly vlan?: number;
  /** Bytes that are changed: of the IP header, and of what is behind it. */
  readonly ip4Bytes?: Readonly<Record<number, number>>;
  readonly ip6Bytes?: Readonly<Record<number, number>>;
  readonly l4Bytes?: Readonly<Record<number, number>>;
  /** Bytes behind the packet; below 0: that are missing. */
  readonly padding?: number;
  /** What the flow is like. */
  readonly flow?: Partial<SlbFlowRow>;
  /** Its backend's row is gone. */
  readonly lost?: boolean;
}

function packetOf(road: Road, protocol: Transport, shape: Shape): Uint8Array {
  const { from: src, to: dst, sport, dport } = road;
  const six = src.includes(':');
  const { vlan, padding = 0, payload = 32, l4Bytes = {} } = shape;
  const frame = eth(shape.mac === undefined ? {} : { dst: shape.mac });
  const link = vlan === undefined ? frame : frame.vlan(vlan);
  const bare = six ? link.ip6({ src, dst, ...shape.ip6 }) : link.ip4({ src, dst, ...shape.ip4 });
  const head =
    protocol === 'tcp'
      ? bare.tcp({ sport, dport, seq: 100, ack: 200, ...shape.tcp })
      : bare.udp({ sport, dport, ...shape.udp });
  const built = head.payload(payload).bytes();
  const packet = new Uint8Array(built.length + padding);
  packet.set(built.subarray(0, packet.length));
  const l3 = vlan === undefined ? 14 : 18;
  for (const [at, value] of Object.entries((six ? shape.ip6Bytes : shape.ip4Bytes) ?? {}))
    packet[l3 + Number(at)] = value;
  for (const [at, value] of Object.entries(l4Bytes)) packet[l3 + (six ? 40 : 20) + Number(at)] = value;
  return packet;
}

/** First packet, answer, confirmation. */
function establish(who: Addresses, road: Road, protocol: Transport): void {
  const { service } = road;
  const hidden = service.kind === 'external';
  const send = (hook: Hook, at: RunOptions, [from, sport]: End, [to, dport]: End, flags: string): void => {
    const bare = ip(from, to);
    const ports = { sport, dport };
    const packet = protocol === 'tcp' ? bare.tcp({ ...ports, flags, ...numbersOf(flags) }) : bare.udp(ports);
    bench.run(hook, packet.bytes(), at);
  };
  const client: End = [who.client, 40000];
  const asked: End = [service.address, 80];
  bench.clearAll();
  send('in', hidden ? up : pod, client, asked, 'S');
  send(hidden ? 'in' : 'out', hidden ? up : pod, [who.far, 8080], hidden ? [who.node, 40000] : client, 'SA');
  send('in', hidden ? up : pod, client, asked, 'A');
  const established = [...bench.flows(who.family).keys()].filter((key) => key.startsWith('flows '));
  if (established.length !== 2) throw new Error('not established');
}
type End = readonly [address: string, port: number];

/** Lets both entries of the flow look like this. */
function change(family: 4 | 6, change: Partial<SlbFlowRow>): void {
  bench.eachFlow('flows', family, (key, flow) => {
    bench.map(`slb_flows${family}`).put(key, encode(slbFlow, { ...flow, ...change }));
  });
}

const without = (after: object, before: object): Record<string, number> =>
  Object.fromEntries(
    Object.entries(after).map(([name, value]) => [
      name,
      Number(value) - Number(before[name as keyof typeof before]),
    ]),
  );

const untagged = (packet: Uint8Array): Uint8Array =>
  packet[12] === 0x81 ? Uint8Array.of(...packet.subarray(0, 12), ...packet.subarray(16)) : packet;

function rowsOf(name: MapName): number {
  const map = bench.map(name);
  return map.readBatch(undefined, map.info.maxEntries).count;
}

/** Everything that a packet changes, times left out. */
function outcomeOf(who: Addresses, road: Road, protocol: Transport, shape: Shape, stale: boolean) {
  const { id, backendIds } = road.service;
  const [backendId = 0] = backendIds;
  const key = u32(backendId & slbLimits.SLOT_MASK);
  const row = bench.map('slb_backends').get(key) ?? new Uint8Array(0);
  establish(who, road, protocol);
  if (shape.flow !== undefined) change(who.family, shape.flow);
  if (shape.lost === true) bench.removeBackend(backendId);
  if (stale) bench.age(2);
  const stats = () => [bench.stats('slb_svc_stats', id), bench.stats('slb_be_stats', backendId)];
  const [service = {}, backend = {}] = stats();
  const events = bench.counters();
  const { verdict, action, packet: sent } = bench.run(road.hook, packetOf(road, protocol, shape), road.at);
  const packet = shape.vlan === undefined ? sent : untagged(sent);
  bench.map('slb_backends').put(key, row);
  const flows = [...bench.flows(who.family)].map(([key, flow]) => [key, { ...flow, seen: 0, created: 0 }]);
  const [serviceNow = {}, backendNow = {}] = stats();
  return {
    what: `${verdict} ${action}`,
    packet: show(packet),
    bytes: Buffer.from(packet).toString('hex'),
    service: without(serviceNow, service),
    backend: without(backendNow, backend),
    events: without(bench.counters(), events),
    flows: Object.fromEntries(flows) as object,
    fragments: rowsOf('slb_fragments'), // what later ones will be known by
    oversize: rowsOf('slb_oversize'),
  };
}

const options = Uint8Array.of(1, 1, 1, 1);
const flagShapes: readonly Shape[] = [...Array(64).keys(), 0x50, 0x90, 0xd0, 0xd1].map((flags) => ({
  name: `TCP flags ${flags.toString(2).padStart(8, '0')}`,
  plain: (flags & 0x17) === 0x10,
  l4Bytes: { 13: flags },
}));
const ipShapes: readonly Shape[] = [
  { name: 'plain', plain: true },
  { name: 'an odd length', plain: true, payload: 33 },
  { name: 'no payload', plain: true, payload: 0 },
  { name: 'padding', plain: true, payload: 0, padding: 6 },
  { name: 'a full frame', plain: true, payload: 1400, ip4: { dontFragment: true } },
  { name: 'larger than the way', payload: 1600, ip4: { dontFragment: true } },
  { name: 'larger than the way, to be fragmented', payload: 1600 },
  { name: 'cut short', padding: -1 },
  { name: 'cut within its header', payload: 0, padding: -5 },
  { name: 'no length', ip4: { length: 0 }, ip6: { length: 0 } },
  { name: 'too great a length', ip4: { length: 2000 }, ip6: { length: 2000 } },
  { name: 'too small a length', ip4: { length: 27 }, ip6: { length: 7 } },
  { name: 'just the header', ip4: { length: 40 }, ip6: { length: 20 } },
  { name: 'TTL 0', ip4: { ttl: 0 }, ip6: { hops: 0 } },
  { name: 'TTL 1', ip4: { ttl: 1 }, ip6: { hops: 1 } },
  { name: 'TTL 2', plain: true, ip4: { ttl: 2 }, ip6: { hops: 2 } },
  { name: 'options', ip4: { options }, ip6: { extensions: [{ type: 60 }] } },
  { name: 'another version', ip4: { version: 5 }, ip6: { version: 5 } },
  { name: 'another header length', ip4: { ihl: 6 } },
  {
    name: 'first fragment',
    ip4: { more: true },
    ip6: { extensions: [{ type: 44, body: Uint8Array.of(0, 1, 0, 0, 0, 7) }] },
  },
  {
    name: 'later fragment',
    ip4: { fragment: 8 },
    ip6: { extensions: [{ type: 44, body: Uint8Array.of(0, 8, 0, 0, 0, 7) }] },
  },
  { name: 'the reserved bit', plain: true, ip4Bytes: { 6: 0x80 } },
  { name: 'another class of traffic', plain: true, ip4Bytes: { 1: 0xfc }, ip6Bytes: { 0: 0x6f, 1: 0xcf } },
  { name: 'no fragment, with the header of one', ip6: { extensions: [{ type: 44 }] } },
  { name: 'another protocol', ip4: { protocol: 47 }, ip6: { protocol: 47 } },
  { name: 'a tag', vlan: 7 },
  { name: "another host's frame", mac: '02:00:00:00:0d:0d' },
  { name: 'a broadcast', mac: 'ff:ff:ff:ff:ff:ff' },
  { name: 'an unfinished checksum', tcp: { checksum: 'partial' }, udp: { checksum: 'partial' } },
  { name: 'a wrong checksum', plain: true, tcp: { checksum: 0x1234 }, udp: { checksum: 0x1234 } },
  { name: 'a checksum of 0', plain: true, tcp: { checksum: 0 }, udp: { checksum: 'none' } },
  { name: 'a checksum of all ones', plain: true, tcp: { checksum: 0xffff }, udp: { checksum: 0xffff } },
];
const tcpShapes: readonly Shape[] = [
  { name: 'TCP options', plain: true, tcp: { options } },
  { name: 'too short a header', tcp: { doff: 4 } },
  { name: 'a header as long as the packet', plain: true, tcp: { doff: 13 } },
  { name: 'a header longer than the packet', tcp: { doff: 14 } },
  { name: 'a RST out of the window', tcp: { flags: 'R', seq: 0x40000000 } },
  { name: 'an acknowledgement of 0', plain: true, tcp: { ack: 0 } },
];
const { FLOW_REPLY, FLOW_AT_INGRESS, FLOW_AT_EGRESS, FLOW_SEEN_REPLY, FLOW_ASSURED } = slbFlowFlags;
const flowShapes: readonly Shape[] = [
  { name: 'the client is done', flow: { fin: 1 } },
  { name: 'the backend is done', flow: { peerFin: 1 } },
  { name: 'both are done', flow: { fin: 1, peerFin: 1 } },
  { name: 'reset', flow: { rst: 1 } },
  { name: 'ended', flow: { dead: 1 } },
  { name: 'not answered', flow: { flags: FLOW_AT_INGRESS | FLOW_ASSURED } },
  {
    name: 'not answered, reply',
    flow: { flags: FLOW_REPLY | FLOW_AT_INGRESS | FLOW_AT_EGRESS | FLOW_ASSURED },
  },
  { name: 'not confirmed', flow: { flags: FLOW_AT_INGRESS | FLOW_AT_EGRESS | FLOW_SEEN_REPLY } },
  {
    name: 'of both hooks',
    flow: { flags: FLOW_AT_INGRESS | FLOW_AT_EGRESS | FLOW_SEEN_REPLY | FLOW_ASSURED },
  },
  { name: 'of no service', flow: { service: 0, backend: 0 } },
  { name: 'of a service that has gone', flow: { service: 0x7ff00001 } },
  { name: 'into this host', flow: { forward: slbForward.FORWARD_HOST } },
  { name: 'back where it came from', flow: { forward: slbForward.FORWARD_HAIRPIN } },
  { name: 'by the routing table', flow: { forward: slbForward.FORWARD_FIB } },
  { name: 'by the stack', flow: { forward: slbForward.FORWARD_STACK } },
  { name: 'nothing changes', flow: { addrDelta: 0, portDelta: 0 } },
  { name: 'backend gone', lost: true },
];

function agree(test: Test, who: Addresses, road: Road, protocol: Transport, shape: Shape): void {
  const fast = outcomeOf(who, road, protocol, shape, false);
  const full = outcomeOf(who, road, protocol, shape, true);
  const parsed = outcomeOf(who, road, protocol, { vlan: 7, ...shape }, true);
  test.same(fast, full, `${road.name}: ${shape.name}`);
  test.same(full, parsed, `${road.name}: ${shape.name}, read by the parser`);
  if (shape.plain === true) test.equal(fast.what, road.plain, `${road.name}: ${shape.name}`);
}

for (const who of bothFamilies) {
  for (const protocol of transports) {
    const title = `IPv${who.family}, ${protocol}`;
    const roads = roadsOf(who, protocol);
    const own = protocol === 'tcp' ? tcpShapes : [];

    t.test(`a packet is treated alike on both paths, ${title}`, (test) => {
      for (const road of roads)
        for (const shape of [...ipShapes, ...own]) agree(test, who, road, protocol, shape);
      test.end();
    });

    t.test(`a flow is treated alike on both paths, ${title}`, (test) => {
      for (const road of roads) for (const shape of flowShapes) agree(test, who, road, protocol, shape);
      test.end();
    });
  }

  const roads = roadsOf(who, 'tcp');
  t.test(`TCP flags mean the same on both paths, IPv${who.family}`, (test) => {
    for (const road of roads) for (const shape of flagShapes) agree(test, who, road, 'tcp', shape);
    test.end();
  });
}
