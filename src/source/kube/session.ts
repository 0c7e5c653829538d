// One HTTP/2 connection for all watches, asked regularly whether its other end is still there.
import type { OutgoingHttpHeaders } from 'node:http';
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from './clock.ts';
import { ApiError } from './error.ts';

export interface PingTimes {
  readonly everyMs: number;
  readonly withinMs: number;
}

/** A server that has not answered for as long as this is gone, whatever the kernel at the other end says. */
export const pingTimes: PingTimes = { everyMs: 15_000, withinMs: 15_000 };

const windowBytes = 1 << 20; // a list is not to wait for a round trip every 64 KiB

/** A connection, and how much is open on it. */
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
    this.#http2.on('error', () => undefined); // its streams tell
    this.#http2.once('connect', () => this.#http2.setLocalWindowSize(windowBytes));
    this.#cancel = clock.after(times.everyMs, () => this.#ask());
    this.#http2.on('close', () => this.#cancel());
  }

  /** Neither end has asked for no more requests. */
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

  /** To be used for nothing new. It closes with what is open on it, and is asked for so long whether it is still there. */
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
      // Node sends none once the server has said GOAWAY: what is still open is left to the kernel's keep-alive.
      if (error === null) this.#cancel = this.#clock.after(everyMs, () => this.#ask());
    });
  }
}
