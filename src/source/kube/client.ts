// Requests to the API server, over connections that are kept.
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { publish } from '../../observe/channels.ts';
import type { Clock } from './clock.ts';
import type { Access, Credentials } from './credentials.ts';
import { ApiError, readError } from './error.ts';

/** Until the head of the answer: a large list takes its time, but its head comes at once. */
const headMs = 30_000;
/** The kernel asks a silent peer after this time whether it is still there, and gives it up some 10 s later. */
const probeMs = 15_000;

/** What asking takes, whatever is asked for. */
export interface Connection {
  readonly client: ApiClient;
  readonly clock: Clock;
  /** The server ends every watch after a while within this range, so that watches spread over its instances again. */
  readonly watchSeconds: { readonly min: number; readonly max: number };
}

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const expected: Readonly<Record<Asked['method'], number>> = { GET: 200, POST: 201 };

// Compression would cost both sides more than the wire does, and hides events in its buffers.
const headers = { 'accept-encoding': 'identity', 'user-agent': 'sluice' };
const json = { accept: 'application/json', 'content-type': 'application/json' };

export class ApiClient {
  readonly #credentials: Credentials;
  readonly #clock: Clock;
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true }),
    'https:': new https.Agent({ keepAlive: true }),
  };

  constructor(credentials: Credentials, clock: Clock) {
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** Resolves with the answer whose body is to be read; rejects with ApiError for every other status than 200. */
  get(path: string, accept: string, signal: AbortSignal): Promise<IncomingMessage> {
    return this.#ask({ method: 'GET', path, headers: { accept } }, signal);
  }

  /** Creates an object; rejects with ApiError when that is refused. */
  async post(path: string, object: object, signal: AbortSignal): Promise<void> {
    const asked: Asked = { method: 'POST', path, headers: json, body: JSON.stringify(object) };
    const answer = await this.#ask(asked, signal);
    answer.on('error', () => undefined).resume(); // the object as it was created: nobody wants it
  }

  close(): void {
    this.#credentials.stop();
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }

  async #ask(asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
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

  async #answer(access: Access, asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
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

  async #send(access: Access, asked: Asked, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, path, body } = asked;
    const { server, tls } = access;
    const plain = server.protocol === 'http:';
    const request = (plain ? http : https).request({
      ...tls,
      agent: this.#agents[plain ? 'http:' : 'https:'],
      method,
      hostname: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port,
      path: server.pathname.replace(/\/$/, '') + path,
      headers: { ...access.headers, ...headers, ...asked.headers },
      signal,
    });
    const cancel = this.#clock.after(headMs, () => {
      request.destroy(new ApiError({ message: `no answer for ${headMs / 1000} s` }));
    });
    try {
      return await new Promise<IncomingMessage>((resolve, reject) => {
        request.on('socket', (socket) => socket.setKeepAlive(true, probeMs));
        request.on('response', resolve);
        // Stays for the whole life of the request: an error after the answer also ends the body, where it is dealt with.
        request.on('error', reject);
        request.end(body);
      });
    } finally {
      cancel();
    }
  }
}

function isWatch({ path }: Asked): boolean {
  return /[?&]watch=/.test(path);
}
