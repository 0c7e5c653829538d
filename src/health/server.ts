// The servers of /healthz, of metrics and of health check node ports: answers by a function, at an address that is
// tried again while it is taken (S-97).
import { respond, type Answerer } from '../http/answer.ts';
import { Connections, listenerLimits, type Limits } from '../http/connections.ts';
import { Listener } from '../http/listener.ts';
import { createHttpServer } from '../http/server.ts';
import type { SluiceError } from '../errors.ts';
import type { HostPort } from '../net/hostport.ts';

export interface ServerOptions {
  readonly name: string;
  readonly target: HostPort;
  readonly answer: Answerer;
  /** namespace/name of the Service that it serves for, where there is one. */
  readonly service?: string;
  /** Bounds the connections of several servers together. */
  readonly among?: Connections;
  /** For tests, which do not wait as long. */
  readonly limits?: Limits;
}

export class HealthServer {
  readonly #listener: Listener;
  readonly #connections: Connections;

  constructor({ answer, among, limits = listenerLimits, ...options }: ServerOptions) {
    this.#connections = new Connections(limits.connections, among);
    const server = createHttpServer((request, response) => void respond(answer, request, response), {
      connections: this.#connections,
      limits,
    });
    this.#listener = new Listener(server, { ...options, retry: true });
  }

  /** Open ones. */
  get connections(): number {
    return this.#connections.count;
  }

  /** Resolves after the first try, with SLB_E_LISTEN if it failed; further tries follow by themselves. */
  start(): Promise<SluiceError | undefined> {
    return this.#listener.start();
  }

  /** "host:port" as bound; as asked for while it is not. */
  address(): string {
    return this.#listener.address();
  }

  stop(): Promise<void> {
    return this.#listener.stop();
  }
}
