// The packets of a script: from what it says, and from the connections that there are, to bytes at a hook.
import { eth, type Builder, type Extension } from '../packet/packet.ts';
import { bothFamilies, type Addresses } from '../packet/addresses.ts';
import type { Devices } from '../kernel/node.ts';
import type { Connection } from './connections.ts';
import type { At } from './model.ts';
import { numbers, reversed, type Tuple } from './read.ts';
import type { World } from './world.ts';
import {
  clusterAddress,
  nodePortOf,
  serviceNames,
  sports,
  type Dressing,
  type Place,
  type Sent,
} from './script.ts';
import { familyOf } from '../../../src/net/ip.ts';

export interface Packet {
  readonly at: At;
  readonly frame: Uint8Array;
  readonly place: Place;
}

/** A connection, and where its requests were met. */
export interface Known {
  readonly connection: Connection;
  readonly who: Addresses;
  readonly place: Place;
}

export function atOf(place: Place, { pod, uplink, lo }: Devices): At {
  const hook = place === 'xdp' ? 'xdp' : place === 'pod' || place === 'uplink' ? 'in' : 'out';
  const ifindex = place === 'pod' ? pod : place === 'lo' ? lo : uplink;
  return { hook, ifindex, forwarded: place === 'passing' };
}

const pick = <T>(list: readonly T[], index: number): T => list[index % list.length] as T;

function fragmentExtension(kind: Dressing['fragment'], id: number): Extension[] {
  if (kind === 'whole') return [];
  const offset = kind === 'later' ? 64 : 1; // 8 bytes on, or more to come
  return [{ type: 44, body: Uint8Array.of(0, offset, 0, 0, 0, id) }];
}

/** An IP packet from one end to the other with everything that its dressing puts around it. */
function around(tuple: Tuple, { headers, life, tags, fragment, dontFragment, mac }: Dressing): Builder {
  const id = tuple.sport % 251;
  let frame = eth({ src: '02:00:00:00:00:02', dst: mac });
  for (let tag = 0; tag < tags; tag++) frame = frame.vlan(7 + tag);
  if (familyOf(tuple.src) === 6) {
    const extensions = [0, 60, 43].slice(0, headers).map((type): Extension => ({ type }));
    return frame.ip6({
      src: tuple.src,
      dst: tuple.dst,
      hops: life,
      extensions: [...extensions, ...fragmentExtension(fragment, id)],
      ...(fragment === 'later' ? { protocol: tuple.proto } : {}),
    });
  }
  return frame.ip4({
    src: tuple.src,
    dst: tuple.dst,
    ttl: life,
    options: new Uint8Array(4 * headers).fill(1),
    id,
    fragment: fragment === 'later' ? 64 : 0,
    more: fragment === 'first',
    dontFragment,
    ...(fragment === 'later' ? { protocol: tuple.proto } : {}),
  });
}

interface Proof {
  readonly seq: number;
  readonly ack: number;
}

/** By what the other end has acknowledged, and by what this one has to. */
function proofOf({ proof, nonce }: Sent, known: Known | undefined, reply: boolean): Proof {
  if (known === undefined || proof === 'stray') return { seq: nonce, ack: (nonce * 7) >>> 0 };
  const { clientAck, backendAck } = known.connection;
  const [own, expected] = reply ? [backendAck, clientAck] : [clientAck, backendAck];
  const ahead = { right: 0, last: 2 ** 20 - 1, beyond: 2 ** 20 }[proof];
  const seq = expected === 0 ? nonce : (expected + ahead) >>> 0;
  return { seq, ack: own === 0 ? nonce : (own + ahead) >>> 0 };
}

/** The chunk that plays the part of these flags. */
function chunkOf(flags: string): number {
  const chunks: Readonly<Record<string, number>> = { S: 1, SA: 2, R: 6, RA: 14, FA: 7, SF: 8, PA: 3 };
  return chunks[flags] ?? 0;
}

function transport(
  builder: Builder,
  { proto, sport, dport }: Tuple,
  flags: string,
  dressing: Dressing,
  { seq, ack }: Proof = { seq: 0, ack: 0 },
): Builder {
  if (dressing.fragment === 'later') return builder.payload(dressing.body);
  const ports = { sport, dport };
  if (proto === numbers.sctp)
    return builder.sctp({ ...ports, tag: ack, chunk: chunkOf(flags) }).payload(dressing.body);
  const layer = proto === numbers.tcp ? builder.tcp({ ...ports, flags, seq, ack }) : builder.udp(ports);
  return layer.payload(dressing.body);
}

/** Turned bits and a cut end; the addresses are left, for the model knows no routes but those of its cast. */
function spoilt(frame: Uint8Array, { flip, cut, tags }: Dressing, family: 4 | 6): Uint8Array {
  const copy = frame.slice(0, Math.max(14, frame.length - cut));
  if (flip === undefined) return copy;
  const l3 = 14 + 4 * tags;
  const [first, size] = family === 4 ? [l3 + 12, 8] : [l3 + 8, 32];
  const at = flip[0] >= first && flip[0] < first + size ? flip[0] + size : flip[0];
  if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << flip[1]);
  return copy;
}

function finish(tuple: Tuple, sent: Sent, place: Place, devices: Devices, builder: Builder): Packet {
  const where = sent.astray ? sent.place : place;
  const frame = spoilt(builder.bytes(), sent.dressing, familyOf(tuple.src));
  return { at: atOf(where, devices), frame, place: where };
}

function ordinary(
  tuple: Tuple,
  sent: Sent,
  place: Place,
  devices: Devices,
  proof = proofOf(sent, undefined, false),
): Packet {
  const builder = transport(around(tuple, sent.dressing), tuple, sent.flags, sent.dressing, proof);
  return finish(tuple, sent, place, devices, builder);
}

/** Where a client's packets are met first. */
function placeOf(client: number, wanted: Place): Place {
  if (client < 2) return wanted === 'xdp' ? 'xdp' : 'uplink';
  if (client < 4) return 'pod';
  if (client === 4 && wanted === 'passing') return 'passing'; // masqueraded by others
  return client === 4 && wanted !== 'lo' ? 'own' : 'lo';
}

/** A frontend that there is, of this family; a NodePort at an address of the node. */
function aim(who: Addresses, to: number, world: World): Pick<Tuple, 'dst' | 'dport' | 'proto'> | undefined {
  const frontends = [...world.frontends.keys()].sort().map((key) => key.split(' '));
  const own = frontends.filter(([address = '']) => familyOf(address) === who.family);
  const found = own[to % Math.max(own.length, 1)];
  if (found === undefined) return undefined;
  const [address = '', port, proto] = found;
  const nodes = [who.node, who.gateway, who.loopback];
  const dst = address === '::' || address === '0.0.0.0' ? pick(nodes, to >> 2) : address;
  return { dst, dport: Number(port), proto: Number(proto) };
}

function dial(sent: Sent, world: World, devices: Devices): Packet | undefined {
  const { step } = sent;
  if (step.do !== 'dial') return undefined;
  const who = pick(bothFamilies, step.family);
  const clients = [who.client, who.other, who.one, who.two, who.node, who.loopback];
  const clusters = serviceNames.map((_, index) => clusterAddress(who, index));
  const targets = [
    ...clusters,
    who.external,
    who.balancer,
    who.node,
    who.gateway,
    who.loopback,
    who.other,
    who.one,
  ];
  const dports = [80, 81, 80, ...serviceNames.map((_, index) => nodePortOf(index))];
  const tuple = {
    proto: numbers[sent.protocol],
    src: pick(clients, step.client),
    sport: pick(sports, step.sport),
    dst: pick(targets, step.to),
    dport: pick(dports, step.dport),
    ...(step.aimed ? aim(who, step.to * 6 + step.dport, world) : {}),
  };
  return ordinary(tuple, sent, placeOf(step.client, sent.place), devices);
}

/** Where the other end's packets are met. */
function answerPlace({ connection, who }: Known): Place {
  const near = [who.one, who.two].includes(connection.sent.dst);
  if (connection.replyAt === 'both' && [who.node, who.gateway].includes(connection.sent.dst)) return 'lo';
  if (connection.replyAt !== 'out') return near || connection.way === 'bounce' ? 'pod' : 'uplink';
  if (connection.sent.dst !== who.node) return 'passing';
  return connection.ifindex === 0 ? 'own' : 'lo';
}

const mtu = { 4: { type: 3, code: 4, rest: 1400 }, 6: { type: 2, rest: 1400 } } as const;

/** An error of a router in between, or of the receiver itself. */
function error(sent: Sent, known: Known, devices: Devices): Packet | undefined {
  const { step } = sent;
  if (step.do !== 'error') return undefined;
  const { who, connection, place } = known;
  const quoted = step.about === 'request' ? connection.sent : reversed(connection.request);
  const header = who.family === 4 ? 20 : 40;
  const whole = { ...sent.dressing, headers: 0, fragment: 'whole', tags: 0 } as const;
  const original = transport(around(quoted, whole), quoted, 'A', { ...whole, body: 64 }).ip();
  const from = step.from === 0 ? who.router : quoted.dst;
  const carrier = { ...quoted, src: from, dst: quoted.src };
  const builder = around(carrier, { ...sent.dressing, fragment: 'whole' })
    .icmp(mtu[who.family])
    .payload(original.subarray(0, header + step.quote));
  return finish(carrier, sent, step.about === 'request' ? answerPlace(known) : place, devices, builder);
}

/** undefined: the script speaks of a connection that there is not. */
export function packetOf(
  sent: Sent,
  connections: readonly Known[],
  world: World,
  devices: Devices,
): Packet | undefined {
  const { step } = sent;
  if (step.do === 'dial') return dial(sent, world, devices);
  if (step.do === 'age' || step.do === 'edit' || connections.length === 0) return undefined;
  const known = pick(connections, step.connection);
  if (step.do === 'error') return error(sent, known, devices);
  if (step.do === 'again') {
    return ordinary(known.connection.request, sent, known.place, devices, proofOf(sent, known, false));
  }
  const proof = proofOf(sent, known, true);
  return ordinary(reversed(known.connection.sent), sent, answerPlace(known), devices, proof);
}
