// An API server that does as it is told, and misbehaves as it is told: lists, watches and a way to step in between.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import https from 'node:https';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface Raw {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    resourceVersion?: string;
  };
  readonly [field: string]: unknown;
}

/** Answers a request itself and returns true, or returns false and leaves it to the server. */
export type Interceptor = (
  query: URLSearchParams,
  response: ServerResponse,
  request: IncomingMessage,
) => boolean;

interface Watcher {
  readonly path: string;
  readonly response: ServerResponse;
}

export class FakeKube {
  readonly #server: http.Server;
  readonly #scheme: string;
  readonly #sockets = new Set<Socket>();
  readonly #objects = new Map<string, Map<string, Raw>>();
  #watchers: Watcher[] = [];
  #version = 100;
  /** Every request, in order: "/api/v1/services?watch=1…". */
  readonly requests: string[] = [];
  /** Kubernetes before 1.34 (or with the feature off) refuses to begin a watch with all objects. */
  watchLists = true;
  intercept: Interceptor = () => false;

  /** With a certificate it speaks TLS, and HTTP/2 with those who can. */
  constructor(tls?: { readonly cert: string; readonly key: string; readonly http2: boolean }) {
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      this.#answer(request, response);
    const modern = (options: object): unknown =>
      http2.createSecureServer({ ...options, allowHTTP1: true }, answer as never);
    this.#scheme = tls === undefined ? 'http' : 'https';
    this.#server = (
      tls === undefined
        ? http.createServer(answer)
        : tls.http2
          ? modern(tls)
          : https.createServer(tls, answer)
    ) as http.Server;
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  async start(port = 0): Promise<void> {
    this.#server.listen(port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
    this.#watchers = [];
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  get version(): string {
    return String(this.#version);
  }

  /** Requests for one resource: "list", "watch 105", "begin". */
  story(path: string): string[] {
    return this.requests
      .filter((url) => url.startsWith(`${path}?`))
      .map((url) => {
        const query = new URLSearchParams(url.slice(path.length));
        if (query.has('sendInitialEvents')) return 'begin';
        if (query.has('watch')) return `watch ${query.get('resourceVersion')}`;
        const details = ['resourceVersion', 'limit', 'continue'].filter((name) => query.has(name));
        return ['list', ...details.map((name) => `${name}=${query.get(name)}`)].join(' ');
      });
  }

  async writeKubeconfig(file: string, user: object = { token: 'secret' }, more: object = {}): Promise<void> {
    const cluster = {
      server: `${this.#scheme}://127.0.0.1:${this.port}`,
      'insecure-skip-tls-verify': true,
      ...more,
    };
    const config = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(file, JSON.stringify(config));
  }

  put(path: string, object: Raw): void {
    const all = this.#of(path);
    const type = all.has(key(object)) ? 'MODIFIED' : 'ADDED';
    this.send(path, type, this.store(path, object));
  }

  remove(path: string, object: Raw): void {
    this.#of(path).delete(key(object));
    this.send(path, 'DELETED', this.#stamp(object));
  }

  /** As put, but no watch hears of it: as if it had happened while no client was connected. */
  store(path: string, object: Raw): Raw {
    const stamped = this.#stamp(object);
    this.#of(path).set(key(object), stamped);
    return stamped;
  }

  /** As remove, but no watch hears of it. */
  forget(path: string, object: Raw): void {
    this.#of(path).delete(key(object));
    this.#version++;
  }

  bookmark(path: string): void {
    this.send(path, 'BOOKMARK', { metadata: { resourceVersion: String(++this.#version) } });
  }

  send(path: string, type: string, object: unknown): void {
    this.sendText(path, `${JSON.stringify({ type, object })}\n`);
  }

  sendText(path: string, text: string): void {
    for (const { response } of this.#on(path)) response.write(text);
  }

  /** Ends the watches of a resource in good order. */
  endWatches(path: string): void {
    for (const { response } of this.#take(path)) response.end();
  }

  /** Breaks them off. */
  breakWatches(path: string): void {
    for (const { response } of this.#take(path)) response.destroy();
  }

  watching(path: string): number {
    return this.#on(path).length;
  }

  expire(path: string): void {
    this.send(path, 'ERROR', {
      kind: 'Status',
      code: 410,
      reason: 'Expired',
      message: 'too old resource version',
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? '';
    this.requests.push(url);
    const { pathname, searchParams } = new URL(url, 'http://fake');
    response.on('close', () => {
      this.#watchers = this.#watchers.filter((watcher) => watcher.response !== response);
    });
    if (this.intercept(searchParams, response, request)) return;
    if (searchParams.has('watch')) this.#watch(pathname, searchParams, response);
    else this.#list(pathname, response);
  }

  #watch(path: string, query: URLSearchParams, response: ServerResponse): void {
    const begin = query.has('sendInitialEvents');
    if (begin && !this.watchLists) return refuse(response, 422, 'Invalid', 'sendInitialEvents is forbidden');
    response.writeHead(200).flushHeaders();
    this.#watchers.push({ path, response });
    if (!begin) return;
    const lines = [...this.#of(path).values()].map((object) => ({ type: 'ADDED', object }));
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    const end = { type: 'BOOKMARK', object: { metadata: { resourceVersion: this.version, annotations } } };
    for (const line of [...lines, end]) response.write(`${JSON.stringify(line)}\n`);
  }

  #list(path: string, response: ServerResponse): void {
    const items = [...this.#of(path).values()];
    response.end(JSON.stringify({ kind: 'List', metadata: { resourceVersion: this.version }, items }));
  }

  #stamp(object: Raw): Raw {
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#version) } };
  }

  #of(path: string): Map<string, Raw> {
    const all = this.#objects.get(path) ?? new Map<string, Raw>();
    this.#objects.set(path, all);
    return all;
  }

  /** Those watching, who from now on do not. */
  #take(path: string): Watcher[] {
    const taken = this.#on(path);
    this.#watchers = this.#watchers.filter((watcher) => !taken.includes(watcher));
    return taken;
  }

  #on(path: string): Watcher[] {
    return this.#watchers.filter((watcher) => watcher.path === path);
  }
}

export function refuse(
  response: ServerResponse,
  code: number,
  reason: string,
  message: string,
  headers = {},
): void {
  response.writeHead(code, headers).end(JSON.stringify({ kind: 'Status', code, reason, message }));
}

function key({ metadata }: Raw): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}
