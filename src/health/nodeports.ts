// healthCheckNodePort: a load balancer asks every node at a port of the Service's own whether it has endpoints, and sends
// only to those that have (S-91 … S-94).
import type { Answer, Question } from '../http/answer.ts';
import { Connections, healthCheckConnections } from '../http/connections.ts';
import type { HealthCheck } from '../model/health.ts';
import { publish } from '../observe/channels.ts';
import { HealthServer } from './server.ts';

export interface HealthChecksOptions {
  /** In the sense of /livez: a proxy that is stuck sends nothing to the endpoints that are there. */
  readonly healthy: () => boolean;
}

interface Open {
  check: HealthCheck;
  readonly servers: Map<string, HealthServer>; // by address
}

const everywhere = ['::'];

export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #open = new Map<string, Open>();
  readonly #connections = new Connections(healthCheckConnections);
  #addresses: readonly string[] = everywhere;
  #closing: Promise<unknown> = Promise.resolve();

  constructor(options: HealthChecksOptions) {
    this.#options = options;
  }

  /** Services with what they are to be asked about now. Ports that come free are taken up again in the same call. */
  update(changed: ReadonlyMap<string, HealthCheck | undefined>): void {
    for (const [service, check] of changed) {
      const open = this.#open.get(service);
      if (open === undefined) continue;
      if (check?.port === open.check.port) open.check = check;
      else this.#close(service, open);
    }
    for (const [service, check] of changed) {
      if (check === undefined || this.#open.has(service)) continue;
      const open = { check, servers: new Map<string, HealthServer>() };
      this.#open.set(service, open);
      this.#listen(service, open);
    }
  }

  /** Where to listen: these addresses (S-56), or everywhere when they are not restricted. */
  listenAt(addresses: readonly string[] | undefined): void {
    this.#addresses = addresses ?? everywhere;
    for (const [service, open] of this.#open) {
      for (const [address, server] of open.servers) {
        if (this.#addresses.includes(address)) continue;
        this.#end(server);
        open.servers.delete(address);
      }
      this.#listen(service, open);
    }
  }

  /** Resolves when every port that was ever opened is closed. */
  async stop(): Promise<void> {
    for (const [service, open] of this.#open) this.#close(service, open);
    await this.#closing;
  }

  #listen(service: string, open: Open): void {
    const { port } = open.check;
    for (const host of this.#addresses) {
      if (open.servers.has(host)) continue;
      const answer = (question: Question): Answer => answerOf(open.check, question, this.#options.healthy());
      const server = new HealthServer({
        name: 'healthCheckNodePort',
        target: { host, port },
        answer,
        service,
        among: this.#connections,
      });
      open.servers.set(host, server);
      void server.start();
    }
  }

  #close(service: string, { check, servers }: Open): void {
    for (const server of servers.values()) this.#end(server);
    this.#open.delete(service);
    publish('server.closed', { server: 'healthCheckNodePort', service, port: check.port });
  }

  #end(server: HealthServer): void {
    this.#closing = Promise.all([this.#closing, server.stop()]);
  }
}

/** The same bytes as kube-proxy's: load balancers' own code reads them (S-92). */
function answerOf(check: HealthCheck, { family }: Question, healthy: boolean): Answer {
  const { namespace, name } = check;
  const localEndpoints = countOf(check, family);
  const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: healthy };
  return {
    status: localEndpoints > 0 && healthy ? 200 : 503,
    type: 'application/json',
    headers: { 'x-load-balancing-endpoint-weight': String(localEndpoints) },
    body: JSON.stringify(body, undefined, '\t'),
  };
}

/**
 * A dual-stack Service has one port for two balancers, and one family may have lost its endpoints: each is told of its own.
 * A Service of one family has one balancer, which may well ask over the other family.
 */
function countOf({ localEndpoints }: HealthCheck, family: 4 | 6): number {
  return localEndpoints[family] ?? localEndpoints[family === 4 ? 6 : 4] ?? 0;
}
