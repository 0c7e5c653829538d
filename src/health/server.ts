// Small HTTP servers for kubelets, load balancers and Prometheus. A port that is taken is tried again (S-97): forwarding
// does not depend on them.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { publish } from '../observe/channels.ts';
import { SluiceError, messageOf } from '../errors.ts';
import { limit, serverOptions, type Connections, type Limits } from '../http/connections.ts';
import { joinHostPort, type HostPort } from '../net/hostport.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Question {
  readonly path: string;
  readonly query: URLSearchParams;
  /** Of the connection, whatever the socket it came in by. */
  readonly family: 4 | 6;
}

/** Undefined: there is nothing of that name. */
export type Answerer = (question: Question) => Answer | undefined | Promise<Answer>;

export type Answers = Readonly<Record<string, (question: Question) => Answer | Promise<Answer>>>;

export interface ServerOptions {
  readonly name: string;
  /** An unspecified address of either family means every address of both, as it does for servers written in Go. */
  readonly target: HostPort;
  readonly answer: Answerer;
  /** namespace/name of the Service that it serves for, where there is one. */
  readonly service?: string;
  /** Bounds the connections of several servers together. */
  readonly among?: Connections;
  /** Tests have no time to wait. */
  readonly limits?: Limits;
}

export const plainText = 'text/plain; charset=utf-8';
const retryMs = 5_000;
const unspecified = ['0.0.0.0', '::'];

export class HealthServer {
  readonly #server: Server;
  readonly #connections: Connections;
  readonly #options: ServerOptions;
  #trying: Promise<unknown> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #complained = false;
  #stopped = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#server = createServer(serverOptions, (request, response) => {
      void respond(options.answer, request, response);
    });
    this.#connections = limit(this.#server, options.among, options.limits);
    // What is left to go wrong while it listens is a connection that could not be accepted.
    this.#server.on('error', () => undefined);
  }

  /** Resolves when the first try has come to its end, with what went wrong. Further tries follow by themselves. */
  async start(): Promise<SluiceError | undefined> {
    const { host, port } = this.#options.target;
    // Without a host: at :: for both families, or at 0.0.0.0 where the kernel has no IPv6.
    this.#server.listen(unspecified.includes(host) ? { port } : { port, host });
    this.#trying = once(this.#server, 'listening');
    try {
      await this.#trying;
      this.#listens();
      return undefined;
    } catch (error) {
      return this.#fails(error);
    } finally {
      this.#trying = undefined;
    }
  }

  /** Open ones. */
  get connections(): number {
    return this.#connections.count;
  }

  /** As bound; the wanted one before that. */
  address(): string {
    const { host, port } = this.#options.target;
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') return joinHostPort(host, port);
    return joinHostPort(bound.address, bound.port);
  }

  /** A port that was listened on is free when this returns; the promise is for connections that have to end. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    // Between listen() and its outcome there is nothing to close yet, and it would listen afterwards.
    if (this.#trying !== undefined) await this.#trying.catch(() => undefined);
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #listens(): void {
    this.#complained = false;
    publish('server.listening', { ...this.#subject(), address: this.address() });
  }

  #fails(cause: unknown): SluiceError {
    const address = this.address();
    const detail = `${this.#options.name} ${address}: ${messageOf(cause)}`;
    const error = new SluiceError('SLB_E_LISTEN', detail, { cause });
    if (this.#stopped) return error;
    if (!this.#complained) publish('server.failed', { ...this.#subject(), address, error });
    this.#complained = true;
    this.#retry = setTimeout(() => void this.start(), retryMs).unref();
    return error;
  }

  #subject(): { readonly server: string; readonly service?: string } {
    const { name, service } = this.#options;
    return service === undefined ? { server: name } : { server: name, service };
  }
}

/** An answer a path; other paths do not exist. */
export function byPath(answers: Answers): Answerer {
  return (question) =>
    Object.hasOwn(answers, question.path) ? answers[question.path]?.(question) : undefined;
}

const methods = ['GET', 'HEAD'];
const notAllowed: Answer = {
  status: 405,
  type: plainText,
  body: 'only GET and HEAD\n',
  headers: { allow: methods.join(', ') },
};

/** A body means nothing here: Node drops what comes of it, and the connection ends with the answer. */
async function respond(answer: Answerer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { status, type, body, headers } = methods.includes(request.method ?? '')
    ? await answered(answer, questionOf(request))
    : notAllowed;
  const length = String(Buffer.byteLength(body));
  const common = { 'content-type': type, 'content-length': length, 'x-content-type-options': 'nosniff' };
  response.writeHead(status, { ...common, ...headers });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function questionOf({ url = '/', socket }: IncomingMessage): Question {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  return { path, query: new URLSearchParams(mark < 0 ? '' : url.slice(mark)), family: familyOf(socket) };
}

/** A socket for both families shows IPv4 peers as ::ffff:a.b.c.d. */
function familyOf({ localAddress = '' }: Socket): 4 | 6 {
  return localAddress.includes('.') ? 4 : 6;
}

async function answered(answer: Answerer, question: Question): Promise<Answer> {
  try {
    return (await answer(question)) ?? { status: 404, type: plainText, body: 'not found\n' };
  } catch (error) {
    return { status: 500, type: plainText, body: `${messageOf(error)}\n` };
  }
}
