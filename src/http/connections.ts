// How many connections an HTTP server without authentication keeps open, and which it ends when there are more.
import { isIPv6, type Socket } from 'node:net';

export interface Limits {
  readonly connections: number; // open at a time
  readonly headersMs: number; // from accept() to the end of the request's headers
  readonly answerMs: number; // from then until the client has read the answer
}

/**
 * Of one listener. Load balancers and kubelet open one connection a probe; Prometheus gives up after 10 s by default.
 */
export const listenerLimits: Limits = { connections: 64, headersMs: 5_000, answerMs: 30_000 };

/** Of all health check node ports together: there may be one for each Service. */
export const healthCheckConnections = 256;

/**
 * The open connections of one listener, or of several that share a bound (`above`). A connection beyond the bound is
 * admitted, and the oldest of the client that holds most is ended: refusing the new one would let slow clients keep a
 * load balancer out.
 */
export class Connections {
  readonly #max: number;
  readonly #above: Connections | undefined;
  readonly #byClient = new Map<string, Set<Socket>>();
  #count = 0;

  constructor(max: number, above?: Connections) {
    this.#max = max;
    this.#above = above;
  }

  get count(): number {
    return this.#count;
  }

  admit(socket: Socket): void {
    const client = clientOf(socket);
    const held = this.#byClient.get(client) ?? new Set<Socket>();
    this.#byClient.set(client, held.add(socket));
    this.#count++;
    socket.once('close', () => this.#forget(socket, client));
    if (this.#count > this.#max) this.#evict(socket);
    this.#above?.admit(socket);
  }

  #evict(accepted: Socket): void {
    let most = { client: '', held: new Set<Socket>() };
    for (const [client, held] of this.#byClient) if (held.size > most.held.size) most = { client, held };
    for (const socket of most.held) {
      if (socket === accepted) continue;
      socket.destroy();
      // 'close' is emitted later, and more connections may be accepted before.
      this.#forget(socket, most.client);
      return;
    }
  }

  #forget(socket: Socket, client: string): void {
    const held = this.#byClient.get(client);
    if (held?.delete(socket) !== true) return;
    this.#count--;
    if (held.size === 0) this.#byClient.delete(client);
    if (this.#above !== undefined) this.#above.#forget(socket, client);
  }
}

/**
 * IPv4 address, or /64 of an IPv6 address: a host has all of it. A socket for both families shows IPv4 as
 * ::ffff:a.b.c.d.
 */
function clientOf({ remoteAddress = '' }: Socket): string {
  if (!isIPv6(remoteAddress) || remoteAddress.includes('.')) return remoteAddress;
  const [head = '', tail = ''] = remoteAddress.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === '' ? [] : tail.split(':');
  const zeros = Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0');
  return [...first, ...zeros, ...last].slice(0, 4).join(':');
}
