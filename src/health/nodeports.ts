// healthCheckNodePort: for a Service with externalTrafficPolicy Local a load balancer asks each node at this port
// whether it has endpoints, and sends only to nodes that have some (S-91 … S-94).
import type { Answer, Question } from '../http/answer.ts';
import { Connections, healthCheckConnections } from '../http/connections.ts';
import type { HealthCheck } from '../model/health.ts';
import { publish } from '../observe/channels.ts';
import { HealthServer } from './server.ts';

export interface HealthChecksOptions {
  /** As of /livez: an agent that is stuck may forward to endpoints that are gone. */
  readonly healthy: () => boolean;
}

interface Open {
  check: HealthCheck;
  readonly servers: Map<string, HealthServer>; // by address
}

const allAddresses = ['::'];

export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #open = new Map<string, Open>();
  readonly #connections = new Connections(healthCheckConnections);
  #addresses: readonly string[] = allAddresses;
  #closing: Promise<unknown> = Promise.resolve();

  constructor(options: HealthChecksOptions) {
    this.#options = options;
  }

  /**
   * By namespace/name; undefined: no health check any more. A port that one Service gives up may go to another in the
   * same call.
   */
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

  /** The addresses at which NodePorts answer (S-56); undefined: all. */
  listenAt(addresses: readonly string[] | undefined): void {
    this.#addresses = addresses ?? allAddresses;
    for (const [service, open] of this.#open) {
      for (const [address, server] of open.servers) {
        if (this.#addresses.includes(address)) continue;
        this.#end(server);
        open.servers.delete(address);
      }
      this.#listen(service, open);
    }
  }

  /** Resolves when all ports are closed. */
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

/** Byte for byte as kube-proxy's: load balancers parse it (S-92). */
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
 * Load balancers of both families ask at the port of a dual-stack Service, and one family may have no endpoints: each
 * gets the count of its own. The load balancer of a single-stack Service may ask over the other family.
 */
function countOf({ localEndpoints }: HealthCheck, family: 4 | 6): number {
  return localEndpoints[family] ?? localEndpoints[family === 4 ? 6 : 4] ?? 0;
}
