// An independent model of the datapath, written from the contract: given what the maps say, what came before, and a
// packet at a hook, it says what is to become of the packet. It knows nothing of the programs but their answers'
// names.
import type { SlbConfigRow } from '../../../src/abi/layout.gen.ts';
import {
  admits,
  choose,
  clientOf,
  findFrontend,
  isFrontend,
  policyOf,
  type Affine,
  type Hook,
} from './choose.ts';
import {
  closing,
  confirms,
  Connections,
  note,
  unanswered,
  type Connection,
  type Found,
  type Side,
  type Way,
} from './connections.ts';
import { Fragments } from './fragments.ts';
import type { Chosen, Decided, OwnWay, Plan, Route } from './plan.ts';
import { quoteIn, type Quoted } from './quote.ts';
import {
  bits,
  destinationOf,
  hasAll,
  isConnected,
  numbers,
  opens,
  readFrame,
  reversed,
  serviceProtocols,
  tupleOf,
  tupleText,
  type Read,
  type Tuple,
} from './read.ts';
import { isMartian } from './martian.ts';
import { maySplit, Splits } from './splits.ts';
import type { World } from './world.ts';
import { aged, lifeOf, translated, translatedError, unfinished, untagged, type Written } from './write.ts';

export interface Host {
  route(src: string, dst: string): Route;
  readonly config: SlbConfigRow;
}

export interface At {
  readonly hook: Hook;
  readonly ifindex: number;
  readonly forwarded: boolean;
}

/** What becomes of a packet. `refusal`: an answer in its place; `written`: the packet that is sent. */
export interface Fate {
  readonly verdict: string;
  /** gone: kept, or sent from here. */
  readonly way?: Way | 'gone';
  /** The stack is to fragment it, and what it makes of it is met where that leaves. */
  readonly split?: boolean;
  readonly written?: Written;
  readonly refusal?: Read;
  /** The connection that the packet belongs to, once it is sent. */
  readonly connection?: Connection;
}

export class Disagreement extends Error {}

export class Model {
  readonly #host: Host;
  readonly #connections: Connections;
  readonly #affinity = new Map<string, Affine>();
  readonly #fragments = new Fragments();
  readonly #splits = new Splits();
  world: World;
  now = 0; // seconds
  /** Connections opened, by service. */
  readonly opened = new Map<number, number>();

  constructor(host: Host, world: World) {
    this.#host = host;
    this.world = world;
    this.#connections = new Connections(host.config);
  }

  send(at: At, frame: Uint8Array, chosen: Chosen): Fate {
    if (at.hook === 'in' && !this.#isForUs(at, frame)) return { verdict: 'OTHER_HOST' };
    const read = readFrame(frame);
    if (read === 'DROP_MALFORMED') return { verdict: this.#unreadable(frame) };
    if (typeof read === 'string') return { verdict: read };
    if (!serviceProtocols.has(read.proto))
      return at.hook === 'xdp' ? { verdict: 'LEFT_TO_TC' } : this.#error(at, frame, read);
    if (read.fragment !== undefined && at.hook === 'xdp') return { verdict: 'LEFT_TO_TC' };
    const ports = read.fragment?.later === true ? this.#fragments.portsOf(read, this.now) : read;
    if (ports === undefined) return this.#early(at, frame, read);
    const whole = { ...read, ...ports };
    if (read.fragment?.first === true) this.#fragments.note(read, this.now);
    const found = this.#find(at, whole);
    if (at.hook === 'in' && read.fragment?.first === true && this.#fragments.take(read)) {
      const ours = found !== undefined || this.world.addresses.has(read.dst);
      if (ours) return { verdict: 'FRAGMENTS_RELEASED', way: 'gone' };
    }
    if (found !== undefined) return this.#known(at, frame, whole, found);
    // At egress only this host's own packets are requests: forwarded ones met an ingress hook before.
    const passing = at.hook === 'out' && at.forwarded;
    const fate = passing ? this.#leaving(frame, whole) : this.#fresh(at, frame, whole, chosen);
    const none = fate.verdict === 'NOT_OURS' || fate.verdict === 'NO_SUCH_PORT';
    return (none ? this.#clash(at, frame, whole) : undefined) ?? fate;
  }

  /** S-55: what leaves from a frontend's port, and is for no service, is known when it is answered. */
  #clash(at: At, frame: Uint8Array, read: Read): Fate | undefined {
    const opening = !isConnected(read.proto) || opens(read);
    if (at.hook !== 'out' || !opening || read.fragment?.later === true) return undefined;
    const own = this.world.addresses.get(read.src)?.node === true;
    if (!own || !isFrontend(this.world, read.src, read)) return undefined;
    const request = tupleOf(read);
    if (!this.#connections.isFree(request, request, this.now)) return undefined;
    const connection: Connection = {
      ...{ request, sent: request, service: 0, backend: 0, ifindex: 0, seen: this.now },
      ...{ requestAt: 'out', replyAt: 'both', way: 'stack', replyWay: 'stack' },
      ...unanswered,
    };
    this.#connections.add(connection);
    // One that would answer itself has one entry for both directions, and finds it there already.
    const itself = tupleText(request) === tupleText(reversed(request));
    return this.#forward(at, frame, read, { connection, reply: false }, itself ? 'REQUEST' : 'REQUEST_NEW');
  }

  #isForUs({ ifindex }: At, frame: Uint8Array): boolean {
    return this.world.devices.get(ifindex)?.mac.every((byte, at) => frame[at] === byte) === true;
  }

  /** Dropped when it is for a service, and else nothing of ours. */
  #unreadable(frame: Uint8Array): string {
    const destination = destinationOf(frame) ?? '';
    return this.world.addresses.get(destination)?.service === true ? 'DROP_MALFORMED' : 'UNREADABLE';
  }

  /** A later fragment without its first one; at ingress it may have overtaken that. */
  #early(at: At, frame: Uint8Array, read: Read): Fate {
    const address = this.world.addresses.get(read.dst);
    if (at.hook !== 'in') return { verdict: address?.service === true ? 'DROP_FRAGMENT' : 'NOT_OURS' };
    const kept = this.#fragments.keep(read, frame, this.now);
    if (address === undefined) return { verdict: 'NOT_OURS' };
    return kept ? { verdict: 'FRAGMENT_HELD', way: 'gone' } : { verdict: 'DROP_FRAGMENT' };
  }

  #leaving(frame: Uint8Array, read: Read): Fate {
    const to = this.#splits.finish(frame, read, this.now);
    if (to === undefined) return { verdict: 'NOT_OURS' };
    return { verdict: 'FRAGMENTED', way: 'stack', written: translated(frame, read, to) };
  }

  #find(at: At, read: Read): Found | undefined {
    const found = this.#connections.find(read);
    if (found === undefined) return undefined;
    const { connection, reply } = found;
    // The answer to another dial: the client reached the backend itself from the port of a connection that has ended.
    const foreign = at.hook !== 'xdp' && reply && closing(connection) && hasAll(read, bits.syn | bits.ack);
    const expired = this.#connections.expired(connection, this.now);
    if (!foreign && !expired && !this.#outdated(read, found)) return found;
    if (foreign || expired || !reply) this.#connections.forget(connection);
    return undefined;
  }

  /** S-20, S-89, S-90. */
  #outdated(read: Read, { connection, reply }: Found): boolean {
    if (reply) return false;
    const gone = connection.service !== 0 && !this.world.backends.has(connection.backend);
    if (isConnected(read.proto)) return opens(read) && (closing(connection) || gone);
    const service = this.world.services.get(connection.service);
    return gone && (service === undefined || service.anyEndpoint);
  }

  #known(at: At, frame: Uint8Array, read: Read, found: Found): Fate {
    const { connection, reply } = found;
    const way = reply ? connection.replyWay : connection.way;
    if (!isAt(reply ? connection.replyAt : connection.requestAt, at)) return { verdict: 'OTHER_HOOK' };
    const assures = !reply && !connection.assured && confirms(connection, read);
    if (at.hook === 'xdp' && (reply || assures || way !== 'stack' || unfinished(frame, read)))
      return { verdict: 'LEFT_TO_TC' };
    connection.seen = this.now;
    note(connection, read, reply);
    if (assures) connection.assured = true;
    return this.#forward(at, frame, read, found, reply ? 'REPLY' : 'REQUEST');
  }

  #fresh(at: At, frame: Uint8Array, read: Read, chosen: Chosen): Fate {
    const dialled = findFrontend(this.world, at.hook, read);
    const refused = dialled === 'REFUSED_PORT';
    if (typeof dialled === 'string' && !refused) return { verdict: dialled };
    const stray = isConnected(read.proto) && (read.tcpFlags & (bits.syn | bits.rst)) !== 0 && !opens(read);
    if (stray && this.world.addresses.get(read.dst)?.node === true) return { verdict: 'NO_FLOW' };
    if (read.fragment?.later === true) return { verdict: 'DROP_FRAGMENT' };
    if (at.hook === 'xdp' && unfinished(frame, read)) return { verdict: 'LEFT_TO_TC' };
    if (stray) return { verdict: 'DROP_NO_FLOW' };
    if (typeof dialled === 'string') return this.#refuse(at, frame, read, dialled);
    if (!admits(this.world, dialled, read.src)) return { verdict: 'DROP_SOURCE' };
    const { config } = this.#host;
    const client = clientOf(this.world, at.hook, at.ifindex, read.src, config.podRanges === 1);
    const policy = policyOf(dialled, client, config.masqueradeAll === 1);
    if (at.hook === 'xdp' && (policy.masquerade || !this.#isForUs(at, frame)))
      return { verdict: 'LEFT_TO_TC' };
    const affinity = { entries: this.#affinity, now: this.now };
    const backend = choose(this.world, dialled.service, policy.list, read, affinity);
    if (typeof backend === 'string') return this.#refuse(at, frame, read, backend);
    return this.#open(at, frame, read, { service: dialled.service.id, backend, policy, client, chosen });
  }

  #open(at: At, frame: Uint8Array, read: Read, decided: Decided): Fate {
    const plan = this.#plan(at, read, decided);
    if (typeof plan === 'string') return { verdict: plan };
    if (at.hook === 'xdp' && plan.way !== 'stack') return { verdict: 'LEFT_TO_TC' };
    if (plan.way !== 'stack' && this.#isMartian(at, frame, read)) return { verdict: 'DROP_MARTIAN' };
    const sent = this.#withPort(at, read, plan.sent, decided.chosen);
    if (typeof sent === 'string') return { verdict: sent };
    const request = tupleOf(read);
    const connection: Connection = {
      ...plan,
      request,
      sent,
      service: decided.service,
      backend: decided.backend.id,
      requestAt: at.hook === 'out' ? 'out' : 'in',
      ifindex: decided.client === 'host' ? at.ifindex : 0,
      seen: this.now,
      ...unanswered,
      clientAck: hasAll(read, bits.ack) ? read.ack : 0,
    };
    this.#connections.add(connection);
    const opening = !isConnected(read.proto) || opens(read);
    const verdict = opening ? 'REQUEST_NEW' : 'REQUEST_RESUMED';
    const fate = this.#forward(at, frame, read, { connection, reply: false }, verdict);
    const arrived = fate.written !== undefined && opening;
    if (arrived) this.opened.set(decided.service, (this.opened.get(decided.service) ?? 0) + 1);
    return fate;
  }

  /** The stack judges the sources of what goes by it. */
  #isMartian(at: At, frame: Uint8Array, read: Read): boolean {
    const back = this.#host.route(read.dst, read.src);
    return at.hook === 'in' && isMartian(this.world, at.ifindex, frame, read, back);
  }

  #refuse(at: At, frame: Uint8Array, read: Read, verdict: string): Fate {
    const martian = verdict.startsWith('REFUSED') && this.#isMartian(at, frame, read);
    return martian ? { verdict: 'DROP_MARTIAN' } : refusal(at, read, verdict);
  }

  /** The source that the backend sees, and the way of the packet (S-63 … S-68). */
  #plan(at: At, read: Read, { backend, policy, client }: Decided): Plan | string {
    const kept: Tuple = { ...tupleOf(read), dst: backend.address, dport: backend.port };
    const itself = backend.address === read.src;
    const hairpin: Plan = {
      sent: { ...kept, src: read.dst }, // S-66: no host but this one has a service address
      way: 'bounce',
      replyWay: 'bounce',
      replyAt: at.hook === 'out' ? 'out' : 'in',
    };
    const plain: Plan = { sent: kept, way: 'stack', replyWay: 'stack', replyAt: 'out' };
    if (client !== 'host' && !policy.masquerade) return itself ? hairpin : plain;
    const unroutable = client === 'host' && this.#isUnroutable(read.src);
    const route = this.#host.route(unroutable ? 'any' : read.src, backend.address);
    if (client === 'host') return this.#own(at, read, { kept, itself, hairpin, plain, route, unroutable });
    if (route === 'here') return plain; // answers through our egress hook anyway
    const source = this.#sourceBy(route, read.family);
    if (source === undefined) return 'DROP_NO_ROUTE';
    return { sent: { ...kept, src: source }, way: 'route', replyWay: 'route', replyAt: 'in' };
  }

  /** This host's own connection keeps its source, unless no answer could reach it (S-67). */
  #own(at: At, read: Read, way: OwnWay): Plan | string {
    const { kept, itself, hairpin, plain, route, unroutable } = way;
    if (route === 'nowhere') return itself ? hairpin : { ...plain, replyWay: 'host', replyAt: 'in' };
    if (route === 'here') return at.ifindex === 1 ? plain : { ...plain, way: 'host', replyWay: 'host' };
    const replaced = unroutable || this.#host.config.masqueradeAll === 1;
    const source = replaced ? this.#sourceBy(route, read.family) : read.src;
    if (source === undefined) return 'DROP_NO_ROUTE';
    return { sent: { ...kept, src: source }, way: 'route', replyWay: 'host', replyAt: 'in' };
  }

  #isUnroutable(src: string): boolean {
    const address = this.world.addresses.get(src);
    return address?.service === true || address?.loopback === true;
  }

  #sourceBy(route: Route, family: 4 | 6): string | undefined {
    return typeof route === 'string' ? undefined : this.world.devices.get(route.ifindex)?.[family];
  }

  /** The client's port when it is free; else whatever free one the program has found (S-68). */
  #withPort(at: At, read: Read, wanted: Tuple, chosen: Chosen): Tuple | string {
    if (this.#connections.isFree(wanted, tupleOf(read), this.now)) return wanted;
    if (at.hook === 'xdp') return 'LEFT_TO_TC';
    const sent = { ...wanted, sport: chosen() };
    const { snatPortMin, snatPortMax } = this.#host.config;
    if (sent.sport < snatPortMin || sent.sport > snatPortMax)
      throw new Disagreement(`port ${String(sent.sport)} is not one of those to give`);
    if (!this.#connections.isFree(sent, tupleOf(read), this.now))
      throw new Disagreement(`port ${String(sent.sport)} is another connection's`);
    return sent;
  }

  #forward(at: At, frame: Uint8Array, read: Read, { connection, reply }: Found, verdict: string): Fate {
    const way = reply ? connection.replyWay : connection.way;
    const to = reply ? reversed(connection.request) : connection.sent;
    if (way === 'route' && mustAge(at, way) && lifeOf(frame, read) <= 1) return outlived(at, read);
    if (way === 'route') {
      const route = this.#host.route(to.src, to.dst);
      if (typeof route === 'string') return { verdict: 'DROP_NO_ROUTE' };
      const tooBig = read.ipLength > route.mtu;
      if (tooBig ? maySplit(frame, read) : read.split === true)
        return this.#split(at, frame, read, { connection, reply }, to, verdict);
      if (tooBig) return refusal(at, read, 'REFUSED_TOO_BIG');
    }
    const split = read.proto === numbers.sctp && read.fragment?.first === true;
    if (split && (to.sport !== read.sport || to.dport !== read.dport)) return { verdict: 'DROP_FRAGMENT' };
    const written = this.#finish(at, translated(frame, read, to), read, way, { connection, reply });
    return { verdict: way === 'bounce' ? 'HAIRPIN' : verdict, way, written, connection };
  }

  /** By the stack: from outside with another destination only, from this host in by lo. */
  #split(at: At, frame: Uint8Array, read: Read, found: Found, to: Tuple, verdict: string): Fate {
    const { connection } = found;
    if (read.fragment?.first === true) this.#fragments.note(read, this.now, true);
    if (at.hook === 'in') {
      const written = translated(frame, read, this.#splits.begin(read, to, this.now));
      return { verdict, way: 'stack', split: true, written, connection };
    }
    const written = this.#finish(at, translated(frame, read, to), read, 'host', { ...found, reply: false });
    return { verdict, way: 'host', written, connection };
  }

  /** What else is changed on the way out. */
  #finish(at: At, written: Written, read: Read, way: Way, { connection, reply }: Found): Written {
    const { frame } = written;
    if (mustAge(at, way)) aged(frame, read.l3, read.family);
    if (way === 'bounce') {
      const [to, from] = [frame.slice(0, 6), frame.slice(6, 12)];
      frame.set(from, 0);
      frame.set(to, 6);
    }
    const into = this.world.devices.get(reply ? connection.ifindex : 1);
    if (way === 'host' && into !== undefined) frame.set(into.mac, 0);
    return way === 'route' || way === 'host' ? untagged(written, read.l3) : written;
  }

  /** S-84: an error is for the one whose packet it quotes, and goes the way of packets in the other direction. */
  #error(at: At, frame: Uint8Array, read: Read): Fate {
    const quoted = quoteIn(frame, read);
    if (typeof quoted === 'string') return { verdict: quoted };
    const found = this.#connections.find(reversed(quoted.tuple));
    if (found === undefined) return { verdict: 'NOT_OURS' };
    const { connection, reply } = found;
    if (!isAt(reply ? connection.replyAt : connection.requestAt, at)) return { verdict: 'OTHER_HOOK' };
    return this.#sendError(at, frame, read, quoted, found);
  }

  #sendError(at: At, frame: Uint8Array, read: Read, quoted: Quoted, found: Found): Fate {
    const { connection, reply } = found;
    const way = reply ? connection.replyWay : connection.way;
    const to = reply ? reversed(connection.request) : connection.sent;
    if (way !== 'stack' && this.#isMartian(at, frame, read)) return { verdict: 'DROP_MARTIAN' };
    if (way === 'route' && typeof this.#host.route(to.src, to.dst) === 'string')
      return { verdict: 'DROP_NO_ROUTE' };
    if (mustAge(at, way) && lifeOf(frame, read) <= 1) return { verdict: 'DROP_TTL' };
    const whole = translatedError(frame, read, quoted, {
      quoted: reversed(to),
      src: read.src === quoted.tuple.dst ? to.src : read.src,
      dst: read.dst === quoted.tuple.src ? to.dst : read.dst,
    });
    const written = this.#finish(at, whole, read, way, found);
    return { verdict: reply ? 'ICMP_REPLY' : 'ICMP_REQUEST', way, written };
  }
}

const isAt = (side: Side, { hook }: At): boolean =>
  side === 'both' || side === (hook === 'out' ? 'out' : 'in');

/** Only what comes in from elsewhere has been forwarded. */
const mustAge = ({ hook }: At, way: Way): boolean => hook === 'in' && way === 'route';

/** Whose life is used up: of a datagram the first fragment is answered. */
const outlived = (at: At, read: Read): Fate =>
  read.fragment?.later === true ? { verdict: 'DROP_TTL' } : refusal(at, read, 'REFUSED_TTL');

function refusal({ hook }: At, read: Read, verdict: string): Fate {
  if (!verdict.startsWith('REFUSED')) return { verdict };
  return hook === 'xdp' ? { verdict: 'LEFT_TO_TC' } : { verdict, refusal: read };
}
