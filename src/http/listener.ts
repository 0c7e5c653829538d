// Starts and stops an HTTP server, and reports both. Where forwarding does not depend on it, a port that is taken is
// tried again until it is free (S-97).
import { once } from 'node:events';
import type { Server } from 'node:http';
import { messageOf, SluiceError } from '../errors.ts';
import { joinHostPort, type HostPort } from '../net/hostport.ts';
import { publish } from '../observe/channels.ts';

export interface ListenerOptions {
  /** In log lines and metrics: "api", "healthz", "metrics", "healthCheckNodePort". */
  readonly name: string;
  /** What errors call it, such as its option; the name where there is none. */
  readonly label?: string;
  readonly target: HostPort;
  /** namespace/name of the Service that it serves for, where there is one. */
  readonly service?: string;
  /** Where the first try fails, the next ones follow by themselves, and the failure is reported. */
  readonly retry: boolean;
  /** Binds the server; a framework that has to know of it brings its own way. */
  readonly bind?: (target: HostPort) => Promise<unknown>;
}

const retryMs = 5_000;
const unspecified = ['0.0.0.0', '::'];

export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  #starting: Promise<unknown> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #reported = false;
  #stopped = false;

  constructor(server: Server, options: ListenerOptions) {
    this.#server = server;
    this.#options = options;
    // While it listens, the only errors left are connections that could not be accepted (EMFILE).
    server.on('error', () => undefined);
  }

  /** Resolves after the first try, with SLB_E_LISTEN if it failed. */
  async start(): Promise<SluiceError | undefined> {
    const { target, bind = (where: HostPort) => listenAt(this.#server, where) } = this.#options;
    this.#starting = bind(target);
    try {
      await this.#starting;
      this.#reported = false;
      publish('server.listening', { ...this.#subject(), address: this.address() });
      return undefined;
    } catch (error) {
      return this.#fail(error);
    } finally {
      this.#starting = undefined;
    }
  }

  /** "host:port" as bound (port 0 chooses one); as asked for while it is not. */
  address(): string {
    const { host, port } = this.#options.target;
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') return joinHostPort(host, port);
    return joinHostPort(bound.address, bound.port);
  }

  /** The port is free when this returns; the promise resolves when the connections have ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    // Between listen() and its outcome there is nothing to close yet, and it would listen afterwards.
    if (this.#starting !== undefined) await this.#starting.catch(() => undefined);
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #fail(cause: unknown): SluiceError {
    const { name, label = name, retry } = this.#options;
    const address = this.address();
    const error = new SluiceError('SLB_E_LISTEN', `${label} ${address}: ${messageOf(cause)}`, { cause });
    if (this.#stopped || !retry) return error;
    if (!this.#reported) publish('server.failed', { ...this.#subject(), address, error });
    this.#reported = true;
    this.#retry = setTimeout(() => void this.start(), retryMs).unref();
    return error;
  }

  #subject(): { readonly server: string; readonly service?: string } {
    const { name, service } = this.#options;
    return service === undefined ? { server: name } : { server: name, service };
  }
}

/** An unspecified address of either family means all addresses of both, as it does for servers written in Go. */
async function listenAt(server: Server, { host, port }: HostPort): Promise<void> {
  // Without a host: at :: for both families, or at 0.0.0.0 where the kernel has no IPv6.
  server.listen(unspecified.includes(host) ? { port } : { port, host });
  await once(server, 'listening');
}
