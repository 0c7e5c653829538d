// HTTP servers without authentication, and clients that exhaust them: real sockets on loopback addresses of this
// test.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { buildApi, listenApi } from '../../../src/api/server.ts';
import { HealthChecks } from '../../../src/health/nodeports.ts';
import { HealthServer } from '../../../src/health/server.ts';
import { byPath, type Answers } from '../../../src/http/answer.ts';
import { healthCheckConnections, listenerLimits, type Limits } from '../../../src/http/connections.ts';
import { shared } from '../../../src/http/shared.ts';
import { listen } from '../../../src/observe/channels.ts';
import { until } from '../../support/run/process.ts';
import { fakeView } from '../../support/api/view.ts';

const here = '127.77.92.1';
const attacker = '127.77.92.66';
const prober = '127.77.92.7';

interface Told {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Ask {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

function ask(port: number, { path = '/', method = 'GET', headers = {}, body }: Ask = {}): Promise<Told> {
  return new Promise((resolve, reject) => {
    const options = { host: here, port, path, method, headers, localAddress: prober, agent: false } as const;
    const outgoing = request(options, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      incoming.on('error', reject).on('end', () => {
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: text });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Half a request, and no more of it: a client that comes again whenever it is sent away. */
class Slow {
  readonly #port: number;
  readonly #from: string;
  #socket: Socket | undefined;
  #again: NodeJS.Timeout | undefined;
  #stopped = false;
  begun = false; // the first of its connections was made

  constructor(port: number, from: string) {
    this.#port = port;
    this.#from = from;
    this.#dial();
  }

  get open(): boolean {
    return this.#socket?.readyState === 'open';
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#again);
    this.#socket?.destroy();
  }

  #dial(): void {
    const socket = connect({ host: here, port: this.#port, localAddress: this.#from });
    this.#socket = socket;
    socket.on('connect', () => {
      this.begun = true;
      socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    });
    socket.on('error', () => undefined).resume();
    socket.on('close', () => {
      if (!this.#stopped) this.#again = setTimeout(() => this.#dial(), 500);
    });
  }
}

async function besiege(t: Test, ports: readonly number[], count: number): Promise<readonly Slow[]> {
  const slow: Slow[] = [];
  t.teardown(() => slow.forEach((one) => one.stop()));
  for (let index = 0; index < count; index++) {
    slow.push(new Slow(ports[index % ports.length]!, attacker));
    if (index % 100 === 99) await until('their connections', () => slow.every(({ begun }) => begun));
  }
  return slow;
}

const openOnes = (slow: readonly Slow[]): number => slow.filter(({ open }) => open).length;

async function start(t: Test, port: number, limits?: Limits): Promise<HealthServer> {
  const answers: Answers = { '/': () => ({ status: 200, type: 'text/plain', body: 'fine' }) };
  const target = { host: here, port };
  const options = limits === undefined ? {} : { limits };
  const server = new HealthServer({ name: 'healthz', target, answer: byPath(answers), ...options });
  t.teardown(() => server.stop());
  t.equal(await server.start(), undefined);
  return server;
}

t.test('S-97: 2 000 slow connections leave a bounded number, and every probe is answered', async (t) => {
  await start(t, 10_256);
  const slow = await besiege(t, [10_256], 2_000);
  for (let round = 0; round < 20; round++) t.match(await ask(10_256), { status: 200, body: 'fine' });
  await until('the others to be ended', () => openOnes(slow) <= listenerLimits.connections);
});

t.test('S-97: a client with many connections cannot displace one with few', async (t) => {
  await start(t, 10_257);
  const few = connect({ host: here, port: 10_257, localAddress: prober });
  t.teardown(() => few.destroy());
  await once(few, 'connect');
  await besiege(t, [10_257], listenerLimits.connections * 3);
  let answer = '';
  few.setEncoding('utf8').on('data', (text: string) => (answer += text));
  few.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(few, 'close');
  t.match(answer, /^HTTP\/1\.1 200 OK[^]*fine$/);
});

t.test('S-91: slow connections to all healthCheckNodePorts share one bound', async (t) => {
  const count = 16;
  const checks = new HealthChecks({ healthy: () => true });
  checks.listenAt([here]);
  t.teardown(() => checks.stop());
  let listening = 0;
  t.teardown(listen('server.listening', () => listening++));
  const ports = Array.from({ length: count }, (_, index) => 30_100 + index);
  const check = (port: number) => ({ namespace: 'shop', name: `s${port}`, port, localEndpoints: { 4: 1 } });
  checks.update(new Map(ports.map((port) => [`shop/s${port}`, check(port)])));
  await until('the listeners', () => listening === count);
  t.ok(count * listenerLimits.connections > healthCheckConnections, 'the bound of one would not do');
  const slow = await besiege(t, ports, 2_000);
  for (const port of ports) t.match(await ask(port), { status: 200, body: /"localEndpoints": 1/ });
  await until('the others to be ended', () => openOnes(slow) <= healthCheckConnections);
});

t.test('S-97: headers that do not end, and answers that are not read, end the connection', async (t) => {
  const limits = { connections: 8, headersMs: 50, answerMs: 50 };
  await start(t, 10_258, limits);
  const silent = connect({ host: here, port: 10_258 });
  await once(silent.resume(), 'close');
  const target = { host: here, port: 10_259 };
  const big = { status: 200, type: 'text/plain', body: 'x'.repeat(64 << 20) };
  const server = new HealthServer({ name: 'metrics', target, limits, answer: () => big });
  t.teardown(() => server.stop());
  await server.start();
  const deaf = connect({ host: here, port: 10_259 });
  await once(deaf, 'connect');
  deaf.pause().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until('the server to give up', () => server.connections === 0);
  deaf.destroy();
  t.pass();
});

t.test('S-97: GET and HEAD alone, one answer a connection, bodies are dropped', async (t) => {
  await start(t, 10_260);
  const told = await ask(10_260);
  t.match(told, { status: 200, headers: { connection: 'close' } });
  t.match(await ask(10_260, { method: 'HEAD' }), { status: 200, body: '' });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    t.match(await ask(10_260, { method }), { status: 405, headers: { allow: 'GET, HEAD' } }, method);
  }
  const body = 'x'.repeat(1_000);
  t.match(await ask(10_260, { body, headers: { 'content-length': '1000' } }), { status: 200, body: 'fine' });
  const raw = connect({ host: here, port: 10_260 });
  raw.write('GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n');
  let answer = '';
  raw.setEncoding('utf8').on('data', (text: string) => (answer += text));
  await once(raw, 'close');
  t.equal(answer.split('HTTP/1.1 200').length, 2, 'the second request is not answered');
});

t.test('metrics are computed once for concurrent requests, and anew for later ones', async (t) => {
  let computed = 0;
  let fail = false;
  const text = shared(async () => {
    await new Promise(setImmediate);
    if (fail) throw new Error('once');
    return String(++computed);
  });
  t.same(await Promise.all([text(), text(), text()]), ['1', '1', '1']);
  t.equal(await text(), '2');
  fail = true;
  await t.rejects(Promise.all([text(), text()]), { message: 'once' });
  fail = false;
  t.equal(await text(), '3', 'a failure is not kept');
});

async function startApi(t: Test): Promise<number> {
  const api = await buildApi(fakeView(), '0.1.0');
  t.teardown(() => api.close());
  const address = await listenApi(api, { host: here, port: 0 });
  return Number(address.slice(address.indexOf(':') + 1));
}

t.test('the API answers requests for its address, and none for another Host (DNS rebinding)', async (t) => {
  const port = await startApi(t);
  const status = async (headers: Record<string, string>) => {
    const { status, body } = await ask(port, { path: '/v1/services', headers });
    return [status, (JSON.parse(body) as { code?: string }).code];
  };
  const fine = [here, `${here}:${port}`, 'localhost', `localhost:${port}`, '127.0.0.1:9', '[::1]:9961'];
  for (const host of fine) t.same(await status({ host }), [200, undefined], host);
  const foreign = [
    ...['evil.example', `evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.evil.example:80'],
    ...['192.0.2.1', '0.0.0.0', '[::]', ':80', 'localhost:99999', '2130706433', '0x7f.1', 'user@127.0.0.1'],
  ];
  for (const host of foreign) t.same(await status({ host }), [403, 'SLB_E_ORIGIN'], host);
  const host = `${here}:${port}`;
  t.same(await status({ host, origin: `http://${host}` }), [200, undefined], 'its own page');
  for (const origin of ['null', 'http://evil.example', `https://${host}`, `http://${here}:1`, '']) {
    t.same(await status({ host, origin }), [403, 'SLB_E_ORIGIN'], `from ${origin}`);
  }
});

t.test('2 000 slow connections to the API leave a bounded number, and it answers', async (t) => {
  const port = await startApi(t);
  const slow = await besiege(t, [port], 2_000);
  for (let round = 0; round < 5; round++) t.match(await ask(port, { path: '/healthz' }), { status: 200 });
  await until('the others to be ended', () => openOnes(slow) <= listenerLimits.connections);
});

t.test('localhost is the loopback addresses of both families, with one set of limits', async (t) => {
  const api = await buildApi(fakeView(), '0.1.0');
  t.teardown(() => api.close());
  const address = await listenApi(api, { host: 'localhost', port: 0 });
  const { port } = new URL(`http://${address}`);
  for (const host of ['127.0.0.1', '[::1]']) {
    const answer = await fetch(`http://${host}:${port}/healthz`);
    t.match([answer.status, answer.headers.get('connection')], [200, 'close'], host);
    const foreign = await fetch(`http://${host}:${port}/healthz`, {
      headers: { origin: 'http://evil.example' },
    });
    t.equal(foreign.status, 403, host);
  }
  await api.close();
  for (const host of ['127.0.0.1', '[::1]']) await t.rejects(fetch(`http://${host}:${port}/healthz`), host);
});

t.test('at a Unix socket any Host is accepted: browsers cannot use it', async (t) => {
  const api = await buildApi(fakeView(), '0.1.0');
  t.teardown(() => api.close());
  const folder = await mkdtemp(join(tmpdir(), 'sluice-api-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const socketPath = join(folder, 'api.sock');
  await api.listen({ path: socketPath });
  const [answer] = (await once(
    request({ socketPath, path: '/healthz', headers: { host: 'sluice' } }).end(),
    'response',
  )) as [{ statusCode: number; resume(): void }];
  answer.resume();
  t.equal(answer.statusCode, 200);
});
