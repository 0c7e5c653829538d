// Connections as the model keeps them: one object for both directions, found by what either looks like on arrival.
import type { SlbConfigRow } from '../../../src/abi/layout.gen.ts';
import { bits, isConnected, numbers, reversed, tupleText, type Read, type Tuple } from './read.ts';

export type Side = 'in' | 'out' | 'both';
export type Way = 'stack' | 'bounce' | 'route' | 'host';

export interface Connection {
  readonly request: Tuple; // as the client sends it
  readonly sent: Tuple; // as the backend sees it
  readonly service: number;
  readonly backend: number;
  readonly requestAt: Side;
  readonly replyAt: Side;
  readonly way: Way;
  readonly replyWay: Way;
  /** Of this host's own connection: the device by which it sends. */
  readonly ifindex: number;
  seen: number;
  answered: boolean;
  /** The client has shown that it received the answer. */
  assured: boolean;
  clientFin: boolean;
  backendFin: boolean;
  reset: boolean;
  /**
   * What each end has acknowledged last, of SCTP the tag it sends; before the flow is assured: what the client has to
   * send.
   */
  clientAck: number;
  backendAck: number;
}

/** What is known of a connection at its first packet. */
export const unanswered = {
  answered: false,
  assured: false,
  clientFin: false,
  backendFin: false,
  reset: false,
  clientAck: 0,
  backendAck: 0,
} as const;

export interface Found {
  readonly connection: Connection;
  readonly reply: boolean;
}

export const closing = ({ clientFin, backendFin, reset }: Connection): boolean =>
  clientFin || backendFin || reset;

export class Connections {
  readonly #config: SlbConfigRow;
  readonly #entries = new Map<string, Found>();

  constructor(config: SlbConfigRow) {
    this.#config = config;
  }

  find(tuple: Tuple): Found | undefined {
    return this.#entries.get(tupleText(tuple));
  }

  /** Seconds without a packet after which a connection is as good as absent. */
  #life({ request, assured, clientFin, backendFin, reset }: Connection): number {
    const config = this.#config;
    if (request.proto === numbers.udp) return assured ? config.udpIdleSec : config.udpNewSec;
    if (reset || (clientFin && backendFin)) return config.tcpClosedSec;
    if (clientFin || backendFin) return config.tcpHalfClosedSec;
    return assured ? config.tcpIdleSec : config.tcpSynSec;
  }

  expired(connection: Connection, now: number): boolean {
    return now - connection.seen >= this.#life(connection);
  }

  /** Whether replies to such a packet could be told from those of every other connection. */
  isFree(sent: Tuple, request: Tuple, now: number): boolean {
    const holder = this.find(reversed(sent));
    if (holder === undefined || this.expired(holder.connection, now)) return true;
    return holder.reply && tupleText(holder.connection.request) === tupleText(request);
  }

  add(connection: Connection): void {
    const reply = reversed(connection.sent);
    const holder = this.find(reply);
    if (holder !== undefined) this.forget(holder.connection);
    this.#entries.set(tupleText(connection.request), { connection, reply: false });
    this.#entries.set(tupleText(reply), { connection, reply: true });
  }

  /** What has become another's meanwhile stays. */
  forget(connection: Connection): void {
    for (const tuple of [connection.request, reversed(connection.sent)]) {
      if (this.find(tuple)?.connection === connection) this.#entries.delete(tupleText(tuple));
    }
  }
}

const window = 2 ** 20;

/** Whether the receiver of a segment that ends something can believe it: RFC 5961, RFC 9260. */
function credible(connection: Connection, { seq, ack, tcpFlags, proto }: Read, reply: boolean): boolean {
  const { clientAck, backendAck } = connection;
  const [own, expected] = reply ? [backendAck, clientAck] : [clientAck, backendAck];
  if (proto === numbers.sctp) return (own === 0 && expected === 0) || ack === own || ack === expected;
  const ahead = (seq - expected) | 0;
  const behind = (tcpFlags & bits.fin) === 0 ? 0 : -window;
  return expected === 0 || (ahead >= behind && ahead < window);
}

/** An acknowledgment far from the one by which the other end's FIN was believed: one of the two is forged. */
function deniesFin(connection: Connection, { ack, tcpFlags, proto }: Read, reply: boolean): boolean {
  if (proto !== numbers.tcp || (tcpFlags & (bits.ack | bits.rst)) !== bits.ack) return false;
  const own = reply ? connection.backendAck : connection.clientAck;
  const otherFin = reply ? connection.clientFin : connection.backendFin;
  const ahead = (ack - own) | 0;
  return otherFin && own !== 0 && (ahead < -2 * window || ahead >= 2 * window);
}

function noteEnd(connection: Connection, read: Read, reply: boolean): void {
  if (deniesFin(connection, read, reply)) {
    if (reply) connection.clientFin = false;
    else connection.backendFin = false;
  }
  const [rst, fin] = [(read.tcpFlags & bits.rst) !== 0, (read.tcpFlags & bits.fin) !== 0];
  const known = reply ? connection.backendFin : connection.clientFin;
  if ((rst ? !connection.reset : fin && !known) && !credible(connection, read, reply)) return;
  connection.reset = rst;
  if (fin && reply && !(rst && known)) connection.backendFin = true;
  if (fin && !reply && !(rst && known)) connection.clientFin = true;
}

function noteAnswer(connection: Connection, { seq, tcpFlags, proto }: Read): void {
  const syn = (tcpFlags & bits.syn) !== 0;
  if (connection.answered && !syn) return;
  if (isConnected(proto) && (tcpFlags & (bits.ack | bits.rst)) !== bits.ack) return;
  connection.answered = true;
  if (connection.assured) return;
  if (proto === numbers.tcp) connection.clientAck = (seq + Number(syn)) >>> 0;
  if (proto === numbers.sctp && syn) connection.clientAck = seq;
}

/** What a packet says of its connection. */
export function note(connection: Connection, read: Read, reply: boolean): void {
  const { proto, tcpFlags, ack } = read;
  if (isConnected(proto)) noteEnd(connection, read, reply);
  if (reply) noteAnswer(connection, read);
  const acknowledges = isConnected(proto) && (tcpFlags & (bits.ack | bits.rst)) === bits.ack;
  const isNews = (known: number): boolean => acknowledges && (proto === numbers.tcp || known === 0);
  if (reply && isNews(connection.backendAck)) connection.backendAck = ack;
  if (!reply && connection.assured && isNews(connection.clientAck)) connection.clientAck = ack;
}

/** Whether a request shows that its client has received the answer. */
export function confirms({ answered, clientAck }: Connection, { proto, tcpFlags, ack }: Read): boolean {
  if (!answered) return false;
  if (!isConnected(proto)) return true;
  if ((tcpFlags & (bits.ack | bits.syn | bits.rst)) !== bits.ack) return false;
  return proto === numbers.tcp ? (ack - clientAck) >>> 0 < window : ack === clientAck;
}
