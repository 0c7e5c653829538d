// One HTTP/2 connection for all watches, with regular PINGs to detect a peer that has gone.
import type { OutgoingHttpHeaders } from 'node:http';
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from './clock.ts';
import { ApiError } from './error.ts';

export interface PingTimes {
  readonly everyMs: number;
  readonly withinMs: number;
}

/** A server that does not answer a PING within this time counts as gone, even if its kernel still acknowledges TCP. */
export const pingTimes: PingTimes = { everyMs: 15_000, withinMs: 15_000 };

const windowBytes = 1 << 20; // with the default of 64 KiB a list would wait for a round trip per window

/** A connection, and the number of its open streams. */
export class Session {
  readonly #http2: ClientHttp2Session;
  readonly #clock: Clock;
  readonly #times: PingTimes;
  #streams = 0;
  #retired = false;
  #cancel: () => void;

  constructor(socket: Socket, server: URL, clock: Clock, times: PingTimes) {
    this.#clock = clock;
    this.#times = times;
    this.#http2 = http2.connect(server, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: windowBytes },
    });
    this.#http2.on('error', () => undefined); // its streams emit the error too
    this.#http2.once('connect', () => this.#http2.setLocalWindowSize(windowBytes));
    this.#cancel = clock.after(times.everyMs, () => this.#ask());
    this.#http2.on('close', () => this.#cancel());
  }

  /** Whether new requests may be sent. */
  get isOpen(): boolean {
    return !this.#retired && !this.#http2.closed && !this.#http2.destroyed;
  }

  request(headers: OutgoingHttpHeaders, endStream: boolean): ClientHttp2Stream {
    const stream = this.#http2.request(headers, { endStream });
    this.#streams++;
    stream.on('close', () => {
      this.#streams--;
      this.#closeUnused();
    });
    return stream;
  }

  /** No new requests from now on. It closes after its last stream; until then PINGs go on. */
  retire(): void {
    this.#retired = true;
    this.#closeUnused();
  }

  destroy(): void {
    this.#http2.destroy();
  }

  #closeUnused(): void {
    if (this.#retired && this.#streams === 0) this.#http2.close();
  }

  #ask(): void {
    if (this.#http2.destroyed) return;
    const { everyMs, withinMs } = this.#times;
    const silent = new ApiError({ message: `no answer to a PING for ${withinMs / 1000} s` });
    this.#cancel = this.#clock.after(withinMs, () => this.#http2.destroy(silent));
    this.#http2.ping((error) => {
      this.#cancel();
      // Node sends no PING after GOAWAY: open streams are left to TCP keepalive.
      if (error === null) this.#cancel = this.#clock.after(everyMs, () => this.#ask());
    });
  }
}
