// Small HTTP servers for kubelets, load balancers and Prometheus. A port that is taken is tried again (S-97): forwarding
// does not depend on them.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { publish } from '../observe/channels.ts';
import { SluiceError, messageOf } from '../errors.ts';
import { joinHostPort, type HostPort } from '../units.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export type Answers = Readonly<Record<string, () => Answer | Promise<Answer>>>;

const retryMs = 5_000;

export class HealthServer {
  readonly #server: Server;
  readonly #name: string;
  readonly #target: HostPort;
  #retry: NodeJS.Timeout | undefined;
  #complained = false;

  constructor(name: string, target: HostPort, answers: Answers) {
    this.#name = name;
    this.#target = target;
    this.#server = createServer((request, response) => {
      void respond(answers, request, response);
    });
    this.#server.on('error', (error) => {
      this.#failed(error);
    });
    this.#server.on('listening', () => {
      this.#complained = false;
      publish('server.listening', { server: this.#name, address: this.address() });
    });
  }

  start(): this {
    const { host, port } = this.#target;
    this.#server.listen(port, host);
    return this;
  }

  /** As bound; the wanted one before that. */
  address(): string {
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string')
      return joinHostPort(this.#target.host, this.#target.port);
    return joinHostPort(bound.address, bound.port);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry);
    if (!this.#server.listening) return;
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #failed(error: Error): void {
    if (!this.#complained) {
      const address = joinHostPort(this.#target.host, this.#target.port);
      const coded = new SluiceError('SLB_E_LISTEN', `${this.#name} ${address}: ${messageOf(error)}`, {
        cause: error,
      });
      publish('server.failed', { server: this.#name, address, error: coded });
    }
    this.#complained = true;
    this.#retry = setTimeout(() => this.start(), retryMs);
    this.#retry.unref();
  }
}

async function respond(answers: Answers, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = '/'] = (request.url ?? '/').split('?', 1);
  const answer = Object.hasOwn(answers, path) ? answers[path] : undefined;
  const { status, type, body } = await settle(answer);
  response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function settle(answer: Answers[string] | undefined): Promise<Answer> {
  try {
    return (await answer?.()) ?? { status: 404, type: 'text/plain; charset=utf-8', body: 'not found\n' };
  } catch (error) {
    return { status: 500, type: 'text/plain; charset=utf-8', body: `${messageOf(error)}\n` };
  }
}
