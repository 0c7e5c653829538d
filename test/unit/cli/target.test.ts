// What `sluice` prints when something is wrong: each kind of failure has its message and its exit code.
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { parseTarget } from '../../../src/cli/target.ts';
import { SluiceError } from '../../../src/errors.ts';
import { printable, printablePage } from '../../../src/units.ts';
import { serve, sluice } from '../../support/api/command.ts';
import { holds } from '../../support/run/property.ts';
import { fakeView, status, web, webBackends, webFlows } from '../../support/api/view.ts';

async function listening(t: Test, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

const answering = (t: Test, listener: RequestListener) => listening(t, createHttpServer(listener));

t.test('services NAME: a malformed name shows the form, an unknown one is not found', async (t) => {
  const api = await serve(t);
  for (const name of ['web', 'shop/', '/web', 'a/b/c', '']) {
    const { code, out, err } = await sluice(['services', name, '--api', api]);
    t.match({ code, out }, { code: 2, out: '' }, name);
    t.match(
      err,
      /^sluice: SLB_E_USAGE: ".*" names no Service: write NAMESPACE\/NAME, such as default\/web\n/,
      name,
    );
    t.notMatch(err, /configuration/);
    t.match(
      await sluice(['flows', '--service', name, '--api', api]),
      { code: 2, err: /NAMESPACE\/NAME/ },
      name,
    );
  }
  t.match(await sluice(['services', 'shop/none', '--api', api]), {
    code: 1,
    out: '',
    err: /^sluice: SLB_E_NOT_FOUND: there is no Service shop\/none\n {2}.*sluice services/,
  });
});

t.test('a request that the agent refuses is wrong usage; an error of the agent is not', async (t) => {
  const failing = (error: Error) =>
    serve(
      t,
      fakeView({
        flows: () => {
          throw error;
        },
      }),
    );
  const refused = await failing(new SluiceError('SLB_E_API', 'client "x" is not an IP address'));
  t.match(await sluice(['flows', '--client', 'x', '--api', refused]), {
    code: 2,
    err: /SLB_E_API: client "x"/,
  });
  const broken = await failing(new TypeError('a bug'));
  t.match(await sluice(['flows', '--api', broken]), {
    code: 1,
    err: /^sluice: SLB_E_INTERNAL: a bug\n.*its log/,
  });
  const map = await failing(new SluiceError('SLB_E_MAP', 'slb_flows4: EPERM'));
  t.match(await sluice(['flows', '--api', map]), {
    code: 1,
    err: /^sluice: SLB_E_MAP: slb_flows4: EPERM\n/,
  });
});

t.test('every wrong command line is SLB_E_USAGE, from the parser or a command', async (t) => {
  for (const line of [
    'frobnicate',
    'status --nothing',
    'flows --limit 0',
    'services -o xml',
    'services a/b c/d',
    'agent --node-name',
    'status --api',
    'agent --write-config-to /nowhere/at/all',
  ]) {
    const { code, out, err } = await sluice(line.split(' '));
    t.match({ code, out }, { code: 2, out: '' }, line);
    t.match(err, /^sluice: SLB_E_USAGE: /, line);
  }
});

t.test('--api: a URL, a host and port, an address of either family', async (t) => {
  const cases: Readonly<Record<string, [string, number]>> = {
    '127.0.0.1:9961': ['127.0.0.1', 9961],
    'http://127.0.0.1:9961': ['127.0.0.1', 9961],
    'http://127.0.0.1:9961/': ['127.0.0.1', 9961],
    'HTTP://127.0.0.1:80': ['127.0.0.1', 80],
    'http://[::1]:9961/': ['::1', 9961],
    '[2001:db8::1]:99': ['2001:db8::1', 99],
    '::1': ['::1', 9961],
    '192.0.2.7': ['192.0.2.7', 9961],
    'node-a.example:9961': ['node-a.example', 9961],
    'http://localhost': ['localhost', 9961],
    ':9962': ['127.0.0.1', 9962],
    '9962': ['127.0.0.1', 9962],
    '0.0.0.0:9961': ['127.0.0.1', 9961],
    '[::]:9961': ['::1', 9961],
  };
  for (const [text, [host, port]] of Object.entries(cases)) t.same(parseTarget(text), { host, port }, text);
  const none = [
    'https://127.0.0.1',
    'http://',
    'http://a/path',
    'http://u:p@a',
    'ftp://a',
    'a b',
    'a:b',
    'a:1:2',
  ];
  for (const text of [...none, '127.0.0.1:99999', '[127.0.0.1]:1', '[::1', '1.2.3', '-a', 'a:0', '99999']) {
    const { code, err } = await sluice(['status', '--api', text]);
    t.equal(code, 2, text);
    t.match(
      err,
      /^sluice: SLB_E_USAGE: --api: ".*" is no address: use HOST:PORT, \[ADDRESS\]:PORT or http:/,
      text,
    );
  }
  t.match(await sluice(['status', '--api', '']), { code: 2, err: /SLUICE_API_ADDRESS\) is empty/ });
  const api = await serve(t);
  const port = api.slice(api.indexOf(':'));
  for (const text of [`http://${api}/`, `localhost${port}`, `http://localhost${port}`, port.slice(1)])
    t.equal((await sluice(['services', '--api', text])).code, 0, text);
});

t.test('no agent: exit code 3, one line and a hint, no stack trace', async (t) => {
  const taken = createServer();
  const free = await listening(t, taken);
  await new Promise((done) => taken.close(done));
  const port = free.slice(free.indexOf(':'));
  for (const api of [free, `http://${free}`, `localhost${port}`]) {
    const { code, err } = await sluice(['status', '--api', api]);
    t.equal(code, 3, api);
    t.match(err, /^sluice: SLB_E_UNREACHABLE: .*:\d+: .*ECONNREFUSED.*\n {2}no agent answers.*\n$/, api);
  }
  t.match(await sluice(['status', '--api', 'no-such-host.invalid:1']), {
    code: 3,
    err: /no-such-host\.invalid/,
  });
});

t.test('another server at the address: exit code 3, and a hint about the port', async (t) => {
  const wrong = /^sluice: SLB_E_UNREACHABLE: [^\n]*is the port right\?\n {2}no agent answers/;
  const answers: Readonly<Record<string, RequestListener>> = {
    'a page': (_request, response) => response.end('<html>'),
    'a page that is not found': (_request, response) => response.writeHead(404).end('not found\n'),
    'JSON of another': (_request, response) => response.end('{"kind":"Status"}'),
    'no object': (_request, response) => response.end('null'),
    'no object, and an error': (_request, response) => response.writeHead(500).end('[]'),
    'a code that is none': (_request, response) =>
      response.writeHead(400).end('{"code":"toString","message":"x"}'),
    'a redirection': (_request, response) => response.writeHead(301, { location: 'http://x/' }).end(),
    nothing: (request) => request.socket.destroy(),
  };
  for (const [what, listener] of Object.entries(answers)) {
    const api = await answering(t, listener);
    for (const args of [['status'], ['services'], ['services', 'a/b'], ['flows']])
      t.match(
        await sluice([...args, '--api', api]),
        { code: 3, out: '', err: wrong },
        `${what}: ${args.join(' ')}`,
      );
  }
  const ssh = createServer((socket) => socket.on('error', () => undefined).end('SSH-2.0-OpenSSH_9.2\r\n'));
  t.match(await sluice(['status', '--api', await listening(t, ssh)]), { code: 3, err: wrong }, 'no HTTP');
});

t.test('an endless answer is aborted', async (t) => {
  const part = await answering(t, (_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{');
    setImmediate(() => response.destroy());
  });
  t.match(await sluice(['status', '--api', part]), { code: 3, err: /SLB_E_UNREACHABLE/ });
  const endless = await answering(t, (request, response) => {
    const more = (): void => {
      while (!request.socket.destroyed && response.write(' '.repeat(1 << 20)));
    };
    response.on('drain', more);
    more();
  });
  t.match(await sluice(['status', '--api', endless]), { code: 3, err: /an answer of more than \d+ bytes/ });
});

const nasty = '\u001b]0;gone\u0007\u001b[2J\u009b31mred\r\nfake row\u202eleft\u2066\u200b\u2028\udc00\u007f';
/** What a terminal would obey, and what makes a row of a table two. */
const obeyed = /[^\P{C}\n]|\p{Zl}|\p{Zp}/u;

t.test('output escapes control characters of manifests and servers', async (t) => {
  const [port] = web.ports;
  const [backend] = webBackends;
  const [flow] = webFlows;
  if (port === undefined || backend === undefined || flow === undefined) throw new Error('no row');
  const bad = {
    namespace: nasty,
    name: nasty,
    ports: [{ ...port, portName: nasty, allowedSources: [nasty], deniedSources: [nasty] }],
  };
  const view = fakeView({
    services: () => ({ services: [bad] }),
    service: () => ({
      ...bad,
      backends: [{ ...backend, portName: nasty, address: nasty }],
      problems: [{ where: nasty, field: nasty, message: nasty }],
    }),
    flows: () => ({ flows: [{ ...flow, namespace: nasty, service: nasty }] }),
    status: () => ({
      ...status,
      node: nasty,
      nodeAddresses: [nasty],
      missing: [nasty],
      ready: false,
      version: nasty,
      source: {
        description: nasty,
        synced: true,
        problems: [{ where: nasty, field: nasty, message: nasty }],
      },
      socketHooks: { state: 'off' as const, detail: nasty },
      exempt: [{ reason: 'mesh' as const, name: nasty, mesh: nasty, cgroups: 0 }],
      devices: [{ name: nasty, role: nasty, tc: nasty, xdp: nasty }],
      features: [{ name: nasty, supported: false, detail: nasty }],
      maps: [{ name: nasty, used: 1, size: 2, bound: 2 }],
      verdicts: [{ hook: nasty, verdict: nasty, class: nasty, packets: 1 }],
      counters: [{ counter: nasty, count: 1 }],
      errors: [{ at: '2026-01-01T00:00:55.000Z', code: nasty, message: nasty }],
    }),
  });
  const api = await serve(t, view);
  const row = { name: nasty, needed: true, supported: true, detail: nasty };
  const commands = {
    check: () => Promise.resolve([row]),
    clean: () => Promise.resolve({ removed: [nasty], restored: [nasty] }),
  };
  for (const args of [
    ...[['status'], ['services'], ['services', 'a/b'], ['flows']].map((line) => [...line, '--api', api]),
    ...[['check'], ['clean']],
  ]) {
    const { out, err } = await sluice(args, commands);
    t.notMatch(out + err, obeyed, args.join(' '));
    t.notMatch(out, /^fake row/m, 'no row of its own');
    t.match(out, /\\u001b\]0;gone\\u0007/, 'shown as what it is');
    const json = await sluice([...args, '-o', 'json'], commands);
    t.notMatch(json.out, obeyed);
    t.ok(JSON.stringify(JSON.parse(json.out)).includes(JSON.stringify(nasty)), 'and untouched in JSON');
  }
});

t.test('errors too, from the agent or from the command', async (t) => {
  const refusing = await answering(t, (_request, response) =>
    response.writeHead(404).end(JSON.stringify({ code: 'SLB_E_NOT_FOUND', message: nasty })),
  );
  const clean = () => Promise.reject(new SluiceError('SLB_E_CLEAN', nasty));
  for (const args of [
    ['services', 'a/b', '--api', refusing],
    ['services', nasty],
    ['services', '--api', nasty],
    ['status', `--${nasty}`],
    [nasty],
    ['clean'],
  ]) {
    const { code, out, err } = await sluice(args, { clean });
    t.not(code, 0);
    t.notMatch(out + err, obeyed, printable(args.join(' ')));
    t.match(err, /\\u001b/);
  }
});

t.test('printed values are one line of visible characters, which stay as they are', async (t) => {
  holds(
    t,
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const line = printable(text);
      const page = printablePage(JSON.stringify(text));
      return !/[\p{C}\p{Zl}\p{Zp}]/u.test(line) && JSON.parse(page) === text;
    }),
  );
  for (const text of ['shop/web', 'größe', '日本', 'a b', 'naïve – “q”', '🙂', 'back\\slash'])
    t.equal(printable(text), text);
});
