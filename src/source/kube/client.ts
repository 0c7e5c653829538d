// Requests to the API server over persistent connections.
import { publish } from '../../observe/channels.ts';
import type { Clock } from './clock.ts';
import type { Access, Credentials } from './credentials.ts';
import { pingTimes, type PingTimes } from './session.ts';
import { Transport, transportKey } from './transport.ts';
import { ApiError, readError, type Answer } from './error.ts';

/** Timeout of the response headers. A large list takes longer, but its headers come at once. */
const headMs = 30_000;

/** What every request needs. */
export interface Connection {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** The server ends a watch after a random time in this range, so that watches spread over its instances again. */
  readonly watchSeconds: { readonly min: number; readonly max: number };
}

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const expected: Readonly<Record<Asked['method'], number>> = { GET: 200, POST: 201 };

// Compression costs more CPU time than it saves, and its buffers delay events.
const headers = { 'accept-encoding': 'identity', 'user-agent': 'sluice' };
const json = { accept: 'application/json', 'content-type': 'application/json' };

export class ApiClient {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #times: PingTimes;
  #transport: { readonly key: string; readonly transport: Transport } | undefined;

  constructor(credentials: Credentials, clock: Clock, times: PingTimes = pingTimes) {
    this.#credentials = credentials;
    this.#clock = clock;
    this.#times = times;
  }

  /** Resolves with the response, whose body is to be read; rejects with ApiError for any status but 200. */
  get(path: string, accept: string, signal: AbortSignal): Promise<Answer> {
    return this.#ask({ method: 'GET', path, headers: { accept } }, signal);
  }

  /** Creates an object; rejects with ApiError when the server refuses it. */
  async post(path: string, object: object, signal: AbortSignal): Promise<void> {
    const asked: Asked = { method: 'POST', path, headers: json, body: JSON.stringify(object) };
    const answer = await this.#ask(asked, signal);
    answer.on('error', () => undefined).resume(); // the created object, which is not used
  }

  close(): void {
    this.#credentials.stop();
    this.#transport?.transport.close();
  }

  async #ask(asked: Asked, signal: AbortSignal): Promise<Answer> {
    const access = await this.#access(signal);
    const answer = await this.#answer(access, asked, signal);
    if (answer.statusCode === expected[asked.method]) return answer;
    const error = await readError(answer);
    if (error.status !== 401) throw error;
    this.#credentials.refused(access);
    const renewed = await this.#access(signal);
    if (renewed.token === access.token && renewed.tls.cert?.toString() === access.tls.cert?.toString())
      throw error;
    const second = await this.#answer(renewed, asked, signal);
    if (second.statusCode === expected[asked.method]) return second;
    throw await readError(second);
  }

  /** Whatever is awaited for credentials, an end of the source ends the waiting. */
  async #access(signal: AbortSignal): Promise<Access> {
    signal.throwIfAborted();
    let giveUp: (() => void) | undefined;
    const aborted = new Promise<never>((_, reject) => {
      giveUp = () => reject(signal.reason as Error);
      signal.addEventListener('abort', giveUp);
    });
    try {
      return await Promise.race([this.#credentials.access(), aborted]);
    } finally {
      if (giveUp !== undefined) signal.removeEventListener('abort', giveUp);
    }
  }

  async #answer(access: Access, asked: Asked, signal: AbortSignal): Promise<Answer> {
    const begun = this.#clock.now();
    const tell = (code: string): void => {
      const tookMs = isWatch(asked) ? undefined : this.#clock.now() - begun;
      publish('api.answered', { host: access.server.host, method: asked.method, code, tookMs });
    };
    const answer = await this.#send(access, asked, signal).catch((error: unknown) => {
      if (!signal.aborted) tell('<error>');
      throw error;
    });
    tell(String(answer.statusCode));
    return answer;
  }

  async #send(access: Access, asked: Asked, signal: AbortSignal): Promise<Answer> {
    const transport = this.#transportFor(access);
    const late = new AbortController();
    const cancel = this.#clock.after(headMs, () => {
      transport.retire();
      late.abort(new ApiError({ message: `no answer for ${headMs / 1000} s` }));
    });
    try {
      const path = access.server.pathname.replace(/\/$/, '') + asked.path;
      const all = { ...asked, path, headers: { ...access.headers, ...headers, ...asked.headers } };
      const answer = await transport.send(all, AbortSignal.any([signal, late.signal]));
      // A balancer that lives would lead the next request to the same dead end.
      answer.on('error', (error) => {
        if (error instanceof ApiError && error.reason === 'Silent') transport.retire();
      });
      return answer;
    } catch (error) {
      throw late.signal.aborted ? late.signal.reason : error;
    } finally {
      cancel();
    }
  }

  /** Other certificates or another way: what is open goes on to its end. */
  #transportFor(access: Access): Transport {
    const key = transportKey(access);
    if (this.#transport?.key !== key) {
      this.#transport?.transport.retire();
      this.#transport = { key, transport: new Transport(access, this.#clock, this.#times) };
    }
    return this.#transport.transport;
  }
}

function isWatch({ path }: Asked): boolean {
  return /[?&]watch=/.test(path);
}
