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
  clientFin: boolean;
  backendFin: boolean;
  reset: boolean;
}

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
  #life({ request, answered, clientFin, backendFin, reset }: Connection): number {
    const config = this.#config;
    if (request.proto === numbers.udp) return answered ? config.udpIdleSec : config.udpNewSec;
    if (reset || (clientFin && backendFin)) return config.tcpClosedSec;
    if (clientFin || backendFin) return config.tcpHalfClosedSec;
    return answered ? config.tcpIdleSec : config.tcpSynSec;
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

/** What a segment says of the end of its connection. */
export function noteEnd(connection: Connection, { tcpFlags, proto }: Read, reply: boolean): void {
  if (!isConnected(proto)) return;
  if ((tcpFlags & bits.rst) !== 0) connection.reset = true;
  if ((tcpFlags & bits.fin) === 0) return;
  if (reply) connection.backendFin = true;
  else connection.clientFin = true;
}
