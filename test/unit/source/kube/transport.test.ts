// The connection of the kube source to its server: HTTP/2 with PING, HTTP/1.1 where the server has no other, and
// proxies.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import http2, { type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import net, { type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { proxyFor } from '../../../../src/source/kube/proxy.ts';
import { pingTimes } from '../../../../src/source/kube/session.ts';
import { KubeSource } from '../../../../src/source/kube/source.ts';
import type { Answer } from '../../../../src/source/kube/error.ts';
import { Transport } from '../../../../src/source/kube/transport.ts';
import { FakeKube } from '../../../support/kube/fakekube.ts';
import { FakeClock, service } from '../../../support/kube/kubelab.ts';
import { until } from '../../../support/run/process.ts';
import { RecordingSink } from '../../../support/kube/sink.ts';

const services = '/api/v1/services';
const slices = '/apis/discovery.k8s.io/v1/endpointslices';
const all = [services, slices, '/api/v1/nodes'];

/** A new key and its certificate, as files. */
function certify(folder: string): { readonly key: string; readonly cert: string } {
  const [key, cert] = [path.join(folder, 'key'), path.join(folder, 'crt')];
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const names = ['-subj', '/CN=kubernetes', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:kubernetes'];
  execFileSync('openssl', ['req', '-x509', ...algorithm, '-keyout', key, '-out', cert, ...names], {
    stdio: 'ignore',
  });
  return { key, cert };
}

async function setUp(t: Test, isModern: boolean) {
  const folder = t.testdir();
  const { key, cert } = certify(folder);
  const kube = new FakeKube({
    cert: readFileSync(cert, 'utf8'),
    key: readFileSync(key, 'utf8'),
    http2: isModern,
  });
  await kube.start();
  const kubeconfig = path.join(folder, 'kubeconfig');
  const write = (cluster: object): Promise<void> =>
    kube.writeKubeconfig(
      kubeconfig,
      { token: 'secret' },
      { 'insecure-skip-tls-verify': false, 'certificate-authority': cert, ...cluster },
    );
  await write({});
  const sink = new RecordingSink();
  const source = new KubeSource({ kubeconfig, nodeName: 'me', pings: { everyMs: 100, withinMs: 400 } });
  t.teardown(async () => {
    await source.stop();
    await kube.stop();
  });
  return { kube, sink, source, write };
}

/**
 * Carries bytes to a port, and counts connections; `mute()` keeps those open that it has, and carries nothing more
 * over them.
 */
async function relay(t: Test, port: number) {
  const sockets: Socket[] = [];
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    sockets.push(client, upstream);
    for (const socket of [client, upstream]) socket.on('error', () => undefined);
    client.on('data', (data) => sockets.includes(client) && upstream.write(data));
    upstream.on('data', (data) => sockets.includes(client) && client.write(data));
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  let opened = 0;
  server.on('connection', () => opened++);
  return {
    port: (server.address() as AddressInfo).port,
    count: () => opened,
    mute: () => void sockets.splice(0),
  };
}

t.test('all watches share one HTTP/2 connection, and events arrive', async (t) => {
  const { kube, sink, source } = await setUp(t, true);
  kube.store(services, service('a'));
  await source.start(sink);
  await until('synced', () => sink.syncs === 1);
  t.equal(kube.connections, 1);
  kube.put(services, service('b'));
  await until('the event', () => sink.objects.has('Service/default/b'));
  kube.endWatches(services);
  await until('the next watch', () => kube.story(services).length === 2 && kube.watching(services) === 1);
  t.equal(kube.connections, 1);
  t.same(sink.problemList, []);
});

t.test('a server that has HTTP/1.1 alone is watched over that', async (t) => {
  const { kube, sink, source } = await setUp(t, false);
  kube.store(services, service('a'));
  await source.start(sink);
  await until('synced', () => sink.syncs === 1);
  kube.put(services, service('b'));
  await until('the event', () => sink.objects.has('Service/default/b'));
  t.equal(kube.connections, 3);
});

t.test('a path that drops packets: detected by PING, and connected again', async (t) => {
  const { kube, sink, source, write } = await setUp(t, true);
  const path = await relay(t, kube.port);
  await write({ server: `https://127.0.0.1:${path.port}` });
  await source.start(sink);
  await until('synced', () => sink.syncs === 1);
  t.equal(path.count(), 1);
  path.mute();
  kube.store(services, service('lost'));
  await until('another connection', () => path.count() > 1);
  await until('all watches', () => all.every((one) => kube.story(one).length >= 2));
  kube.put(services, service('b'));
  await until('the event', () => sink.objects.has('Service/default/b'));
});

/**
 * A transport by a clock that stands still, and a server that keeps every request open and counts the PINGs of each
 * connection.
 */
async function openEnded(t: Test) {
  const { key, cert } = certify(t.testdir());
  const server = http2.createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) });
  const connections: { readonly session: ServerHttp2Session; pings: number }[] = [];
  server.on('session', (session) => {
    const connection = { session, pings: 0 };
    connections.push(connection);
    session.on('ping', () => connection.pings++);
  });
  const streams: ServerHttp2Stream[] = [];
  server.on('stream', (stream) => {
    streams.push(stream);
    stream.respond({ ':status': 200 });
    stream.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const clock = new FakeClock();
  const access = {
    server: new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`),
    proxyUrl: undefined,
    tls: { rejectUnauthorized: false },
    headers: {},
    token: undefined,
  };
  const transport = new Transport(access, clock, pingTimes);
  t.teardown(() => {
    transport.close();
    for (const { session } of connections) session.destroy();
    server.close();
  });
  const get = (): Promise<Answer> =>
    transport.send({ method: 'GET', path: '/', headers: {} }, new AbortController().signal);
  return { transport, clock, connections, streams, get };
}

for (const [what, turnAway] of [
  ['that the client has retired', ({ transport }) => transport.retire()],
  [
    'whose server wants no further requests on it (--goaway-chance)',
    async ({ connections: [first], streams: [stream] }) => {
      first?.session.goaway(0);
      stream?.write('-');
      await until('the frame before it is there', () => stream?.writableLength === 0);
    },
  ],
] as const satisfies readonly (readonly [
  string,
  (parts: Awaited<ReturnType<typeof openEnded>>) => void | Promise<void>,
])[]) {
  t.test(`streams on a connection ${what} stay open for any time`, async (t) => {
    const parts = await openEnded(t);
    const { clock, connections, streams, get } = parts;
    const answer = await get();
    let heard = '';
    let failure: Error | undefined;
    answer.on('data', (data: Buffer) => (heard += data.toString()));
    answer.on('error', (error) => (failure = error));
    await turnAway(parts);
    await until('a new connection', async () => {
      await get();
      return connections.length > 1;
    });
    for (let round = 1; round <= 3; round++) {
      clock.advance(pingTimes.everyMs);
      await until('the new connection is asked', () => (connections.at(-1)?.pings ?? 0) >= round);
      await turn();
    }
    streams[0]?.write('still there');
    await until('its next words', () => heard.endsWith('still there') || failure !== undefined);
    t.equal(failure, undefined);
    streams[0]?.end();
    await until('the end of what nothing uses', () => connections[0]?.session.destroyed === true);
  });
}

t.test("the kubeconfig's proxy is used, by CONNECT, with its password", async (t) => {
  for (const isModern of [true, false]) {
    const { kube, sink, source, write } = await setUp(t, isModern);
    const asked: (string | undefined)[] = [];
    const proxy = http.createServer().on('connect', ({ url, headers }, socket: Socket) => {
      asked.push(`${url} ${headers['proxy-authorization']}`);
      const upstream = net.connect(kube.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
      socket.pipe(upstream).pipe(socket);
      socket.on('error', () => upstream.destroy());
      upstream.on('error', () => socket.destroy());
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    t.teardown(() => proxy.close());
    const { port } = proxy.address() as AddressInfo;
    await write({ server: 'https://kubernetes:6443', 'proxy-url': `http://me:secret@127.0.0.1:${port}` });
    kube.store(services, service('a'));
    await source.start(sink);
    await until('synced', () => sink.syncs === 1);
    t.same([...new Set(asked)], [`kubernetes:6443 Basic ${Buffer.from('me:secret').toString('base64')}`]);
    t.ok(sink.objects.has('Service/default/a'));
  }
});

t.test('HTTPS_PROXY and NO_PROXY as client-go reads them', async (t) => {
  const env = { HTTPS_PROXY: 'proxy:3128' };
  const way = (server: string, more: object = {}, own?: string): string | undefined =>
    proxyFor(new URL(server), own, { ...env, ...more })?.host;
  t.equal(way('https://api.example:6443'), 'proxy:3128');
  t.equal(
    proxyFor(new URL('https://api.example'), undefined, { https_proxy: 'http://low:1' })?.host,
    'low:1',
  );
  t.equal(way('http://api.example'), undefined, 'HTTPS_PROXY is for https');
  for (const [server, list, wanted] of [
    ['https://10.1.2.3:6443', '192.168.0.0/16, 10.0.0.0/8', undefined],
    ['https://11.1.2.3:6443', '10.0.0.0/8', 'proxy:3128'],
    ['https://[fd00::1]:6443', 'fd00::/8', undefined],
    ['https://[fd00::1]:6443', '10.0.0.0/8', 'proxy:3128'],
    ['https://10.1.2.3:6443', '10.1.2.3', undefined],
    ['https://10.1.2.3:6443', '10.1.2.3:443', 'proxy:3128'],
    ['https://10.1.2.3:6443', '10.1.2.3:6443', undefined],
    ['https://api.example', 'example', undefined],
    ['https://example', '.example', 'proxy:3128'],
    ['https://api.example', '*.example', undefined],
    ['https://badexample', 'example', 'proxy:3128'],
    ['https://api.example', '*', undefined],
    ['https://127.0.0.1:6443', '', undefined],
    ['https://localhost:6443', '', undefined],
  ] as const) {
    t.equal(way(server, { NO_PROXY: list }), wanted, `${server} with NO_PROXY=${list}`);
    t.equal(way(server, { no_proxy: list }), wanted);
    t.equal(
      way(server, { NO_PROXY: list }, 'http://own:1'),
      'own:1',
      'what the kubeconfig says is for this server',
    );
  }
  t.throws(() => way('https://api.example', {}, 'ftp://own:1'), {
    code: 'SLB_E_SOURCE',
    message: /proxy-url/,
  });
});
