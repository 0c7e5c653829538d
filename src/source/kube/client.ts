// GET requests to the API server, over connections that are kept.
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
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
  async get(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const access = await this.#credentials();
    signal.throwIfAborted();
    const answer = await this.#send(access, path, signal);
    if (answer.statusCode === 200) return answer;
    throw await readError(answer);
  }

  close(): void {
    this.#agents['http:'].destroy();
    this.#agents['https:'].destroy();
  }

  async #send(
    { server, options, proxied }: Access,
    path: string,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const plain = server.protocol === 'http:';
    const request = (plain ? http : https).request({
      ...options,
      ...(proxied ? {} : { agent: this.#agents[plain ? 'http:' : 'https:'] }),
      hostname: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port,
      path: server.pathname.replace(/\/$/, '') + path,
      // Compression would cost both sides more than the wire does, and hides events in its buffers.
      headers: {
        ...options.headers,
        accept: 'application/json',
        'accept-encoding': 'identity',
        'user-agent': 'sluice',
      },
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
        request.end();
      });
    } finally {
      cancel();
    }
  }
}
