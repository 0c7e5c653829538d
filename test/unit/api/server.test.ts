import t from 'tap';
import { buildApi, listenApi } from '../../../src/api/server.ts';
import type { AgentView } from '../../../src/api/view.ts';
import { SluiceError } from '../../../src/errors.ts';
import { parseHostPort } from '../../../src/net/hostport.ts';
import { fakeView, status, web, webBackends } from '../../support/api/view.ts';

t.test('resources answer with the data of the view', async (t) => {
  const app = await buildApi(fakeView(), '0.1.0');
  t.teardown(() => app.close());
  const get = async (url: string) => {
    const answer = await app.inject(url);
    return { code: answer.statusCode, body: answer.json<Record<string, unknown>>() };
  };
  t.same(await get('/healthz'), { code: 200, body: { status: 'ok' } });
  t.same(await get('/readyz'), { code: 200, body: { ready: true, missing: [] } });
  t.same(await get('/v1/status'), { code: 200, body: status });
  t.same(await get('/v1/services'), { code: 200, body: { services: [web] } });
  t.same(await get('/v1/services/shop/web'), {
    code: 200,
    body: { ...web, backends: webBackends, problems: [] },
  });
  t.same(await get('/v1/backends'), { code: 200, body: { backends: webBackends } });
  const metrics = await app.inject('/metrics');
  t.match(metrics.headers['content-type'], /^text\/plain; version=0\.0\.4/);
  t.equal(metrics.body, '# TYPE up gauge\nup 1\n');
});

t.test('lists are paged: the view always gets a limit', async (t) => {
  const asked: unknown[] = [];
  const services: AgentView['services'] = (page) => {
    asked.push(page);
    return { services: [web], cursor: 'shop/web' };
  };
  const app = await buildApi(fakeView({ services }), '0.1.0');
  t.teardown(() => app.close());
  t.same((await app.inject('/v1/services')).json(), { services: [web], cursor: 'shop/web' });
  await app.inject('/v1/services?limit=5&cursor=shop/db');
  t.same(asked, [{ limit: 1_000 }, { limit: 5, cursor: 'shop/db' }]);
  for (const url of ['/v1/services?limit=0', '/v1/backends?limit=1001', '/v1/services?page=2']) {
    t.equal((await app.inject(url)).statusCode, 400, url);
  }
});

t.test('readiness reports what is missing', async (t) => {
  const missing = ['slb_backends: 3 rows'];
  const app = await buildApi(fakeView({ readiness: () => ({ ready: false, missing }) }), '0.1.0');
  t.teardown(() => app.close());
  const answer = await app.inject('/readyz');
  t.equal(answer.statusCode, 503);
  t.same(answer.json(), { ready: false, missing });
});

t.test('flows are paged by cursor, and bad queries are refused with a code', async (t) => {
  const seen: unknown[] = [];
  const app = await buildApi(
    fakeView({
      flows: (query) => {
        seen.push(query);
        return fakeView().flows(query);
      },
    }),
    '0.1.0',
  );
  t.teardown(() => app.close());
  const first = (await app.inject('/v1/flows?limit=2&service=shop/web&client=10.2.0.9')).json<{
    flows: [];
    cursor: string;
  }>();
  t.equal(first.flows.length, 2);
  const second = (await app.inject(`/v1/flows?limit=2&cursor=${first.cursor}`)).json<{
    flows: [];
    cursor?: string;
  }>();
  t.equal(second.flows.length, 1);
  t.notOk(second.cursor, 'the last page has no cursor');
  t.same(seen[0], { limit: 2, service: 'shop/web', client: '10.2.0.9' });
  await app.inject('/v1/flows');
  t.match(seen.at(-1), { limit: 100 }, 'a page has a size when none is asked for');
  for (const query of [
    'limit=0',
    'limit=1001',
    'limit=many',
    'service=web',
    'cursor=garbage',
    'cient=10.0.0.1',
  ]) {
    const answer = await app.inject(`/v1/flows?${query}`);
    t.equal(answer.statusCode, 400, query);
    t.match(answer.json(), { code: 'SLB_E_API', message: /./ }, query);
  }
});

t.test('errors have a code and no stack trace', async (t) => {
  const broken = fakeView({
    status: () => {
      throw new SluiceError('SLB_E_MAP', 'slb_backends: EPERM');
    },
    services: () => {
      throw new TypeError('a bug');
    },
  });
  const app = await buildApi(broken, '0.1.0');
  t.teardown(() => app.close());
  const status = await app.inject('/v1/status');
  t.equal(status.statusCode, 500);
  t.same(status.json(), { code: 'SLB_E_MAP', message: 'slb_backends: EPERM' });
  const services = await app.inject('/v1/services');
  t.equal(services.statusCode, 500);
  t.same(services.json(), { code: 'SLB_E_INTERNAL', message: 'a bug' });
  for (const [method, url] of [
    ['GET', '/v1/services/shop/none'],
    ['GET', '/nothing'],
    ['DELETE', '/v1/services'],
  ] as const) {
    const answer = await app.inject({ method, url });
    t.equal(answer.statusCode, 404, `${method} ${url}`);
    t.match(answer.json(), { code: 'SLB_E_NOT_FOUND', message: String }, url);
  }
});

t.test('OpenAPI lists every resource with its answers', async (t) => {
  const app = await buildApi(fakeView(), '9.9.9');
  t.teardown(() => app.close());
  const api = (await app.inject('/openapi.json')).json<{
    openapi: string;
    info: { version: string };
    paths: Record<string, { get: { summary: string; responses: Record<string, unknown> } }>;
  }>();
  t.match(api.openapi, /^3\./);
  t.equal(api.info.version, '9.9.9');
  t.same(Object.keys(api.paths).sort(), [
    '/healthz',
    '/metrics',
    '/readyz',
    '/v1/backends',
    '/v1/flows',
    '/v1/services',
    '/v1/services/{namespace}/{name}',
    '/v1/status',
  ]);
  for (const [path, { get }] of Object.entries(api.paths)) t.ok(get.summary, path);
  t.same(Object.keys(api.paths['/readyz']!.get.responses), ['200', '503']);
});

t.test('a listen address that is taken is a coded error', async (t) => {
  const app = await buildApi(fakeView(), '0.1.0');
  const other = await buildApi(fakeView(), '0.1.0');
  t.teardown(() => Promise.all([app.close(), other.close()]));
  const address = await listenApi(app, { host: '127.0.0.1', port: 0 });
  const answer = await fetch(`http://${address}/healthz`);
  t.equal(answer.status, 200);
  await t.rejects(listenApi(other, parseHostPort(address, 0)!), {
    code: 'SLB_E_LISTEN',
    detail: new RegExp(`--api-address ${address}`),
  });
});
