// The kube source against an API server that misbehaves in every way we know of.
import { writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { ItemSplitter } from '../../../../src/source/kube/items.ts';
import { LineSplitter } from '../../../../src/source/kube/lines.ts';
import { KubeSource } from '../../../../src/source/kube/source.ts';
import { FakeKube, refuse, type Raw } from '../../../support/kube/fakekube.ts';
import { lab, portOf, service } from '../../../support/kube/kubelab.ts';
import { until } from '../../../support/run/process.ts';
import { holds } from '../../../support/run/property.ts';
import { RecordingSink } from '../../../support/kube/sink.ts';

const services = '/api/v1/services';
const slices = '/apis/discovery.k8s.io/v1/endpointslices';
const minute = 60_000;

t.test('lists, reports synced once, then watches; requests only what is needed', async (t) => {
  const { kube, sink, start, clock } = await lab(t);
  kube.store(services, service('a'));
  kube.store(slices, { metadata: { name: 'a-1', namespace: 'default', uid: 'u' }, addressType: 'IPv4' });
  await start();
  t.same(sink.names, ['EndpointSlice/default/a-1', 'Service/default/a']);
  kube.put(services, service('b'));
  kube.put(services, service('a', 'uid-a', 81));
  await until('the edit', () => portOf(sink, 'a') === 81);
  kube.remove(services, service('a'));
  await until('the deletion', () => !sink.objects.has('Service/default/a'));
  t.same(sink.names, ['EndpointSlice/default/a-1', 'Service/default/b']);
  t.equal(sink.syncs, 1);
  t.same(clock.waits, []);

  const asked = kube.requests.map((url) => new URL(url, 'http://fake'));
  t.same(
    asked.map(({ pathname }) => pathname).sort(),
    ['/api/v1/nodes', services, slices],
    'S-1: nothing else is asked for',
  );
  for (const { pathname, searchParams } of asked) {
    const node = pathname === '/api/v1/nodes';
    t.equal(searchParams.get('fieldSelector'), node ? 'metadata.name=me' : null);
    const own = '!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless';
    t.equal(searchParams.get('labelSelector'), node ? null : own, 'S-2');
    t.equal(searchParams.get('allowWatchBookmarks'), 'true');
    t.ok(Number(searchParams.get('timeoutSeconds')) >= 300);
  }
});

const pods = '/api/v1/pods';
const namespaces = '/api/v1/namespaces';

t.test('of Pods and Namespaces the metadata are requested, and only running Pods of this node', async (t) => {
  const { kube, sink, start } = await lab(t, new RecordingSink(), true);
  kube.watchLists = false;
  const accepted = new Map<string, string | undefined>();
  kube.intercept = (query, _response, { url = '', headers }) => {
    accepted.set(`${query.has('watch') ? 'watch' : 'list'} ${url.replace(/\?.*/, '')}`, headers.accept);
    return false;
  };
  const labels = { 'sluice.dev/socket-hooks': 'false' };
  kube.store(namespaces, { metadata: { name: 'shop', uid: 'n', labels } as Raw['metadata'] });
  kube.store(pods, { metadata: { name: 'web', namespace: 'shop', uid: 'p' } });
  await start();
  t.match(sink.objects.get('Namespace//shop'), { socketHooks: false });
  t.match(sink.objects.get('Pod/shop/web'), { cgroupUid: 'p', nodeName: undefined });
  const metadata = (kind: string): string =>
    `application/json;as=${kind};v=v1;g=meta.k8s.io,application/json`;
  for (const path of [pods, namespaces]) {
    t.equal(accepted.get(`list ${path}`), metadata('PartialObjectMetadataList'));
    t.equal(accepted.get(`watch ${path}`), metadata('PartialObjectMetadata'));
  }
  t.equal(accepted.get(`list ${services}`), 'application/json');
  const asked = new URL(kube.requests.find((url) => url.startsWith(`${pods}?`)) ?? '', 'http://fake');
  t.equal(
    asked.searchParams.get('fieldSelector'),
    'spec.nodeName=me,status.phase!=Succeeded,status.phase!=Failed',
  );
});

t.test('nothing is synced before everything is listed', async (t) => {
  const { kube, sink, source } = await lab(t);
  let held: (() => void) | undefined;
  kube.store(services, service('a'));
  kube.intercept = (_query, response, { url }) => {
    if (url?.startsWith(slices) !== true || held !== undefined) return false;
    held = () => refuse(response, 500, 'InternalError', 'not yet');
    return true;
  };
  await source.start(sink);
  await until('services', () => sink.objects.size === 1);
  t.equal(sink.syncs, 0);
  held?.();
  await until('synced', () => sink.syncs === 1);
});

t.test(
  'a server that cannot begin a watch with all objects is listed, streamed from its cache',
  async (t) => {
    const { kube, sink, start, clock } = await lab(t);
    kube.watchLists = false;
    kube.store(services, service('a'));
    await start();
    await until('the watch', () => kube.watching(services) === 1);
    t.same(kube.story(services), ['begin', 'list resourceVersion=0', 'watch 101']);
    t.same(clock.waits, [], 'finding out is no failure');
    kube.put(services, service('b'));
    await until('the event', () => sink.objects.size === 2);
    kube.endWatches(services);
    await until(
      'the next watch',
      () => kube.story(services).length === 5 || kube.story(services).length === 4,
    );
    t.notMatch(kube.story(services).slice(3), ['begin'], 'it is asked once');
  },
);

t.test(
  '410 during a watch: objects deleted meanwhile are removed, the others not touched (S-6, S-7)',
  async (t) => {
    for (const watchLists of [true, false]) {
      const { kube, sink, start } = await lab(t);
      kube.watchLists = watchLists;
      for (const name of ['stays', 'goes', 'changes']) kube.store(services, service(name));
      await start();
      await until('the watch', () => kube.watching(services) === 1);
      const before = sink.batches.length;
      kube.forget(services, service('goes'));
      kube.store(services, service('changes', 'uid-changes', 81));
      kube.store(services, service('comes'));
      kube.expire(services);
      await until('the new list', () => sink.objects.has('Service/default/comes'));
      t.equal(sink.batches.length, before + 1, 'one batch');
      t.same(sink.story.slice(3), [
        'del Service/default/goes',
        'put Service/default/changes',
        'put Service/default/comes',
      ]);
      const again = watchLists ? ['begin'] : ['list limit=500'];
      t.match(
        kube.story(services).slice(watchLists ? 1 : 3),
        again,
        'the newest state, not a cache that may be older',
      );
      t.equal(sink.syncs, 1);
    }
  },
);

t.test('410 at each start of a watch: lists back off', async (t) => {
  const { kube, clock, start } = await lab(t);
  await start();
  kube.watchLists = false;
  kube.intercept = (query, response, { url }) => {
    if (url?.startsWith(services) !== true || !query.has('watch') || query.has('sendInitialEvents'))
      return false;
    refuse(response, 410, 'Expired', 'too old');
    return true;
  };
  kube.expire(services);
  await until('some hours', () => clock.now() > 120 * minute);
  const lists = kube.story(services).filter((word) => word.startsWith('list')).length;
  const allowed = (clock.now() / minute) * 3 + 10;
  t.ok(lists > 5 && lists < allowed, `${lists} lists in ${Math.round(clock.now() / minute)} minutes`);
});

t.test('a future resource version (etcd was restored): the list starts again', async (t) => {
  const { kube, sink, start } = await lab(t);
  kube.store(services, service('a'));
  await start();
  const status = {
    code: 504,
    reason: 'Timeout',
    message: 'too large',
    details: { causes: [{ reason: 'ResourceVersionTooLarge' }] },
  };
  kube.forget(services, service('a'));
  kube.send(services, 'ERROR', { kind: 'Status', ...status });
  await until('the deletion', () => sink.objects.size === 0);
  t.same(kube.story(services), ['begin', 'begin']);
});

t.test(
  'an hour of bookmarks alone: no list, no change, each watch continues the last one (S-7)',
  async (t) => {
    const { kube, clock, sink, start } = await lab(t);
    kube.store(services, service('a'));
    await start();
    const { length } = sink.batches;
    for (let passed = 0; passed < 60; passed++) {
      const armed = clock.armed;
      for (const path of [services, slices, '/api/v1/nodes']) kube.bookmark(path);
      await until('the bookmarks', () => clock.armed >= armed + 3);
      clock.advance(minute);
      if (passed % 7 !== 6) continue; // the server ends its watches after timeoutSeconds
      const last = kube.version;
      for (const path of ['/api/v1/nodes', slices, services]) kube.endWatches(path);
      const all = [services, slices, '/api/v1/nodes'];
      await until('the next watches', () => all.every((path) => kube.watching(path) === 1));
      t.equal(kube.story(services).at(-1), `watch ${Number(last) - 2}`, 'from the last bookmark');
    }
    t.equal(kube.story(services).length, 1 + 8);
    t.equal(
      kube.story(services).filter((word) => !word.startsWith('watch')).length,
      1,
      'one list, at the start',
    );
    t.equal(sink.batches.length, length);
    t.same(clock.waits, [], 'a quiet end is no failure');
  },
);

t.test('a watch that is closed at once is repeated after a delay', async (t) => {
  const { kube, clock, start } = await lab(t);
  await start();
  kube.intercept = (query, response, { url }) => {
    if (url?.startsWith(services) !== true || !query.has('watch')) return false;
    response.writeHead(200).end();
    return true;
  };
  kube.endWatches(services);
  await until('an hour', () => clock.now() > 60 * minute);
  const dials = kube.story(services).length;
  t.ok(dials > 10 && dials < 220, `${dials} dials in ${Math.round(clock.now() / minute)} minutes`);
  t.ok(Math.max(...clock.waits) <= 30_000);
  t.ok((clock.waits[0] ?? 0) < (clock.waits[4] ?? 0), 'ever longer');
});

t.test(
  'an event in two parts arrives; a line cut off by a broken connection is requested again',
  async (t) => {
    const { kube, sink, start } = await lab(t);
    await start();
    const line = JSON.stringify({ type: 'ADDED', object: kube.store(services, service('snö')) });
    kube.sendText(services, line.slice(0, 40));
    await turn();
    kube.sendText(services, `${line.slice(40)}\n`);
    await until('the event', () => sink.objects.size === 1);
    const { version } = kube;
    kube.sendText(services, line.slice(0, 40));
    kube.endWatches(services);
    await until('the next watch', () => kube.watching(services) === 1 && kube.story(services).length === 2);
    t.same(kube.story(services), ['begin', `watch ${version}`]);
    kube.sendText(services, '{"type":"ADDED","obj\n');
    await until('the next watch', () => kube.story(services).length === 3);
    t.equal(kube.story(services)[2], `watch ${version}`);
    t.same(sink.names, ['Service/default/snö']);
  },
);

t.test('a dead connection is detected by its silence, during a watch and at the start', async (t) => {
  const { kube, clock, sink, start } = await lab(t);
  kube.store(services, service('a'));
  await start();
  clock.advance(11 * minute);
  await until('the next watch', () => kube.story(services).length === 2);
  t.match(kube.story(services), ['begin', 'watch 101']);
  await until('watching', () => kube.watching(services) === 1);
  kube.intercept = (_query, _response, { url }) =>
    url?.startsWith(services) === true && kube.story(services).length === 3;
  kube.endWatches(services);
  await until('the request without an answer', () => kube.story(services).length === 3);
  const { armed } = clock;
  clock.advance(31_000);
  await until('the next', () => kube.story(services).length === 4 && clock.armed > armed);
  await until('the problem is over', () => sink.problemList.length === 0);
  kube.put(services, service('b'));
  await until('the event', () => sink.objects.has('Service/default/b'));
});

t.test(
  '429 and 503 obey Retry-After; 500 backs off, doubling; the problem is shown, then removed',
  async (t) => {
    const { kube, clock, sink, start } = await lab(t);
    await start();
    let answers: ((response: ServerResponse) => void)[] = [
      (response) => refuse(response, 429, 'TooManyRequests', 'slow down', { 'retry-after': '17' }),
      (response) => refuse(response, 503, 'ServiceUnavailable', 'starting', { 'retry-after': '40' }),
      ...Array.from(
        { length: 8 },
        () => (response: ServerResponse) => refuse(response, 500, 'InternalError', 'oh dear'),
      ),
      (response) => void response.writeHead(502).end('<html>no JSON</html>'),
    ];
    const seen: string[] = [];
    kube.intercept = (_query, response, { url }) => {
      if (url?.startsWith(services) !== true) return false;
      const [answer, ...rest] = answers;
      answers = rest;
      const message = sink.problemList[0]?.message;
      if (message !== undefined && seen.at(-1) !== message) seen.push(message);
      answer?.(response);
      return answer !== undefined;
    };
    kube.endWatches(services);
    await until('the end of it', () => answers.length === 0 && kube.watching(services) === 1);
    const [hasty, first = 0, second = 0, ...others] = clock.waits;
    t.equal(hasty, 375, 'the first: half a second, spread');
    t.ok(
      first >= 17_000 && first <= 25_000 && second >= 40_000 && second <= 50_000,
      'Retry-After is the least',
    );
    t.same(
      others.slice(0, 3),
      [3_000, 6_000, 12_000].map((ms) => ms),
      'doubling',
    );
    t.ok(others.every((ms) => ms <= 30_000));
    t.same(seen, ['slow down', 'starting', 'oh dear', '502 Bad Gateway']);
    kube.bookmark(services);
    await until('the problem goes', () => sink.problemList.length === 0);
  },
);

t.test('403 names the permission, 401 is repeated with a fresh token', async (t) => {
  const { kube, sink, start, kubeconfig } = await lab(t);
  const token = path.join(path.dirname(kubeconfig), 'token');
  await writeFile(token, 'monday');
  await kube.writeKubeconfig(kubeconfig, { tokenFile: token });
  await start();
  const tokens: (string | undefined)[] = [];
  kube.intercept = (_query, response, { headers }) => {
    tokens.push(headers.authorization);
    if (headers.authorization === 'Bearer tuesday') return false;
    refuse(response, 401, 'Unauthorized', 'Unauthorized');
    return true;
  };
  kube.endWatches(services);
  await until('a refusal', () => tokens.length > 1);
  await writeFile(token, 'tuesday');
  await until('the new token', () => kube.watching(services) === 1);
  t.equal(tokens[0], 'Bearer monday');
  kube.intercept = (_query, response) => {
    refuse(response, 403, 'Forbidden', 'services is forbidden');
    return true;
  };
  kube.endWatches(services);
  await until('the problem', () => /forbidden.*ClusterRole/.test(sink.problemList[0]?.message ?? ''));
  t.ok(sink.problemList[0]?.where.endsWith(services));
});

t.test(
  'list pages are followed; a continue token that repeats or has expired leads to one whole list',
  async (t) => {
    for (const trouble of ['none', 'repeats', 'expires'] as const) {
      const { kube, sink, start } = await lab(t);
      kube.watchLists = false;
      for (const name of ['a', 'b', 'c']) kube.store(services, service(name));
      await start();
      await until('the watch', () => kube.watching(services) === 1);
      kube.store(services, service('d'));
      kube.forget(services, service('a'));
      const page = (response: ServerResponse, name: string, next: string): void => {
        const metadata = { resourceVersion: kube.version, continue: next };
        const item = kube.store(services, service(name));
        response.end(JSON.stringify({ metadata, items: [item] }));
      };
      kube.intercept = (query, response, { url }) => {
        if (url?.startsWith(services) !== true || !query.has('limit')) return false;
        const token = query.get('continue');
        if (token === null) page(response, 'b', 'x');
        else if (trouble === 'repeats') page(response, 'c', 'x');
        else if (trouble === 'expires') refuse(response, 410, 'Expired', 'the token is too old');
        else page(response, token === 'x' ? 'c' : 'd', token === 'x' ? 'y' : '');
        return true;
      };
      kube.expire(services);
      await until('the new list', () => sink.objects.has('Service/default/d'));
      t.same(
        sink.names,
        ['b', 'c', 'd'].map((name) => `Service/default/${name}`),
        trouble,
      );
      const pages = ['list limit=500', 'list limit=500 continue=x'];
      const rest = trouble === 'none' ? ['list limit=500 continue=y'] : ['list'];
      t.same(kube.story(services).slice(3, 6), [...pages, ...rest], trouble);
    }
  },
);

t.test('a recreated object is deleted first, whether watched or listed', async (t) => {
  const { kube, sink, start } = await lab(t);
  kube.store(services, service('a', 'one'));
  await start();
  kube.put(services, service('a', 'two'));
  await until('the second', () => sink.objects.get('Service/default/a')?.meta.uid === 'two');
  kube.store(services, service('a', 'three'));
  kube.expire(services);
  await until('the third', () => sink.objects.get('Service/default/a')?.meta.uid === 'three');
  const twice = ['del Service/default/a', 'put Service/default/a'];
  t.same(sink.story, ['put Service/default/a', ...twice, ...twice]);
});

t.test('a listener that throws does not end the watch', async (t) => {
  class Throwing extends RecordingSink {
    override changes(batch: Parameters<RecordingSink['changes']>[0]): void {
      super.changes(batch);
      throw new Error('the listener is broken');
    }
  }
  const sink = new Throwing();
  const { kube, start } = await lab(t, sink);
  kube.store(services, service('a'));
  await start();
  kube.put(services, service('b'));
  await until('the next event', () => sink.objects.size === 2);
  t.match(sink.problemList, [{ where: 'agent', message: /listener is broken/ }]);
  t.equal(kube.story(services).length, 1);
});

t.test(
  'an error in an object is reported with its name, affects only that part, and ends with it',
  async (t) => {
    const { kube, sink, start } = await lab(t);
    kube.store(services, {
      ...service('a'),
      spec: { clusterIP: '10.96.0.1', externalIPs: ['1.2.3.4', 'one.two'], ports: [{ port: 1 }] },
    });
    await start();
    await until('the problem', () => sink.problemList.length === 1);
    t.match(sink.problemList, [
      { where: 'Service default/a', field: 'spec.externalIPs[1]', message: /no IP address/ },
    ]);
    t.match(sink.objects.get('Service/default/a'), { externalIPs: ['1.2.3.4'] }, 'S-15');
    kube.remove(services, service('a'));
    await until('the problem goes', () => sink.problemList.length === 0);
  },
);

t.test('stopping while connecting, waiting or watching leaves nothing open', async (t) => {
  for (const state of ['connecting', 'watching', 'waiting'] as const) {
    const { kube, sink, source } = await lab(t);
    if (state === 'connecting') kube.intercept = () => true;
    if (state === 'waiting') await kube.stop();
    await source.start(sink);
    if (state === 'connecting') await until('three requests', () => kube.requests.length === 3);
    if (state === 'watching') await until('three watches', () => sink.syncs === 1);
    if (state === 'waiting') await until('a failure', () => sink.problemList.length > 0);
    await source.stop();
    await until('no connection is left', () => kube.connections === 0);
    const { length } = kube.requests;
    for (let i = 0; i < 20; i++) await turn();
    t.equal(kube.requests.length, length, `${state}: nothing is asked after stop`);
  }
});

t.test('a server that restarts: its last state stays, and nothing is listed again', async (t) => {
  const { kube, clock, sink, start } = await lab(t);
  kube.store(services, service('a'));
  await start();
  const { port } = kube;
  await kube.stop();
  await until('it is noticed', () => sink.problemList.length === 3);
  await until('half an hour', () => clock.now() > 30 * minute);
  t.same(sink.names, ['Service/default/a']);
  t.ok(clock.waits.every((ms) => ms <= 30_000));
  const again = new FakeKube();
  t.teardown(async () => again.stop());
  await again.start(port);
  await until('it watches again', () => again.watching(services) === 1);
  t.equal(again.story(services)[0], 'watch 101');
  t.same(sink.story, ['put Service/default/a']);
});

t.test('without kubeconfig, cluster or pod: an error that says so', async (t) => {
  const sink = new RecordingSink();
  await t.rejects(new KubeSource({ kubeconfig: '/nowhere', nodeName: 'me' }).start(sink), {
    code: 'SLB_E_SOURCE',
    message: /nowhere/,
  });
  await t.rejects(new KubeSource({ kubeconfig: undefined, nodeName: 'me' }).start(sink), {
    code: 'SLB_E_SOURCE',
    message: /--manifests/,
  });
});

t.test('a key that ends in "items" is not the list of items', async (t) => {
  const list = { '"items': ['other'], items: [{ own: 1 }] };
  const splitter = new ItemSplitter();
  t.strictSame(splitter.push(Buffer.from(JSON.stringify(list))), ['{"own":1}']);
  t.strictSame(splitter.end(), { ...list, items: [] });
});

t.test('splitters: the objects are the same for any division of the bytes', async (t) => {
  const text = fc.string({
    unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', 'ö', '😀', 'items', ':', ' '),
  });
  const value = fc.dictionary(
    text,
    fc.oneof(text, fc.array(text), fc.dictionary(text, text), fc.constant(null)),
  );
  const cuts = fc.infiniteStream(fc.integer({ min: 1, max: 40 }));
  const chunk = (bytes: Buffer, sizes: Iterator<number>): Buffer[] => {
    const parts: Buffer[] = [];
    for (let at = 0; at < bytes.length;) {
      const size = Number(sizes.next().value);
      parts.push(bytes.subarray(at, at + size));
      at += size;
    }
    return parts;
  };
  holds(
    t,
    fc.property(fc.array(value), value, fc.boolean(), cuts, (items, other, pretty, sizes) => {
      const list = { ...other, metadata: { resourceVersion: '7', list: [{ items: [1] }] }, items };
      const json = Buffer.from(JSON.stringify(list, null, pretty ? 2 : 0));
      const splitter = new ItemSplitter();
      const found = chunk(json, sizes).flatMap((part) => splitter.push(part));
      t.strictSame(
        found.map((item) => JSON.parse(item) as unknown),
        JSON.parse(JSON.stringify(items)),
      );
      t.strictSame(splitter.end(), JSON.parse(JSON.stringify({ ...list, items: [] })));
    }),
    { numRuns: 50 },
  );
  holds(
    t,
    fc.property(fc.array(value), cuts, (items, sizes) => {
      const splitter = new LineSplitter();
      const json = Buffer.from(items.map((item) => `${JSON.stringify(item)}\n`).join(''));
      const found = chunk(json, sizes).flatMap((part) => splitter.push(part));
      t.strictSame(
        found.map((item) => JSON.parse(item) as unknown),
        JSON.parse(JSON.stringify(items)),
      );
      t.notOk(splitter.cut);
    }),
    { numRuns: 50 },
  );
  const cut = new ItemSplitter();
  cut.push(Buffer.from('{"metadata":{},"items":[{"a":1},{"b"'));
  t.throws(() => cut.end(), SyntaxError);
});
