// Requests to one server with one set of credentials: over one HTTP/2 connection if the server has it, else HTTP/1.1.
import http, { type OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import type { Clock } from './clock.ts';
import type { Access } from './credentials.ts';
import { hostOf } from '../../net/hostport.ts';
import { dial } from './dial.ts';
import { ApiError, type Answer } from './error.ts';
import { Session, type PingTimes } from './session.ts';

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body?: string;
}

/** Requests with the same key may share connections: same server, proxy and certificates. */
export function transportKey({ server, proxyUrl, tls }: Access): string {
  const { ca, cert, key, servername, rejectUnauthorized } = tls;
  return JSON.stringify([server.href, proxyUrl, ca, cert, key, servername, rejectUnauthorized]);
}

export class Transport {
  readonly #access: Access;
  readonly #clock: Clock;
  readonly #times: PingTimes;
  readonly #stopping = new AbortController();
  readonly #agent: http.Agent;
  #session: Session | undefined;
  #opening: Promise<Session | undefined> | undefined;
  /** The server has chosen HTTP/1.1. */
  #isOld: boolean;

  constructor(access: Access, clock: Clock, times: PingTimes) {
    this.#access = access;
    this.#clock = clock;
    this.#times = times;
    this.#isOld = access.server.protocol === 'http:';
    this.#agent = this.#isOld ? new http.Agent({ keepAlive: true }) : new https.Agent({ keepAlive: true });
    this.#agent.createConnection = (_options, done) => {
      dial(access, this.#stopping.signal, ['http/1.1']).then(
        (socket) => done?.(null, socket),
        (error: unknown) => done?.(error as Error, undefined as never),
      );
      return undefined;
    };
  }

  /** Resolves when the response headers have come. */
  async send(request: Request, signal: AbortSignal): Promise<Answer> {
    const session = this.#isOld ? undefined : await this.#open();
    signal.throwIfAborted();
    return session === undefined ? this.#sendOld(request, signal) : sendBy(session, request, signal);
  }

  /** New requests go over a new connection; open ones end on the old one. */
  retire(): void {
    this.#session?.retire();
    this.#session = undefined;
  }

  close(): void {
    this.#stopping.abort();
    this.#agent.destroy();
    this.#session?.destroy();
  }

  async #open(): Promise<Session | undefined> {
    const session = this.#session;
    if (session?.isOpen === true) return session;
    this.#opening ??= this.#dial().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #dial(): Promise<Session | undefined> {
    const late = new AbortController();
    const cancel = this.#clock.after(dialMs, () =>
      late.abort(new ApiError({ message: `no connection within ${dialMs / 1000} s` })),
    );
    try {
      const signal = AbortSignal.any([late.signal, this.#stopping.signal]);
      const socket = await dial(this.#access, signal, ['h2', 'http/1.1']);
      if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') {
        this.#session = new Session(socket, this.#access.server, this.#clock, this.#times);
        return this.#session;
      }
      socket.destroy();
      this.#isOld = true;
      return undefined;
    } finally {
      cancel();
    }
  }

  #sendOld({ method, path, headers, body }: Request, signal: AbortSignal): Promise<Answer> {
    const { server } = this.#access;
    const { request } = server.protocol === 'http:' ? http : https;
    const host = { hostname: hostOf(server), port: server.port };
    return new Promise((resolve, reject) => {
      const sent = request({ ...host, agent: this.#agent, method, path, headers, signal });
      sent.on('response', resolve);
      // Also after the response: an error then ends the body, whose reader handles it.
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

const dialMs = 30_000;

function sendBy(session: Session, request: Request, signal: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method, path, headers, body } = request;
    const stream = session.request({ ...headers, ':method': method, ':path': path }, body === undefined);
    const giveUp = (): void => void stream.destroy(signal.reason as Error);
    signal.addEventListener('abort', giveUp);
    stream.on('close', () => {
      signal.removeEventListener('abort', giveUp);
      reject(new ApiError({ message: 'the connection was closed before the response' }));
    });
    stream.on('response', (answered) => {
      const { ':status': statusCode, ...rest } = answered;
      resolve(Object.assign(stream, { statusCode, statusMessage: '', headers: rest }));
    });
    // Also after the response, as above. A response that the peer truncated is an error, even where HTTP/2 takes it for
    // an end.
    stream.on('error', reject);
    if (body !== undefined) stream.end(body);
  });
}
