// The first sync of the kube source: by a streaming list, or by a list, and when it starts again.
import type { ServerResponse } from 'node:http';
import t from 'tap';
import { refuse, type FakeKube } from '../../../support/kube/fakekube.ts';
import { lab, service, type FakeClock } from '../../../support/kube/kubelab.ts';
import { until } from '../../../support/run/process.ts';
import { RecordingSink } from '../../../support/kube/sink.ts';

const services = '/api/v1/services';
const slices = '/apis/discovery.k8s.io/v1/endpointslices';
const pods = '/api/v1/pods';
const namespaces = '/api/v1/namespaces';

for (const [what, misbehave] of [
  ['answers with everyday bookmarks', (kube: FakeKube) => kube.bookmark(services)],
  ['stays silent after the objects', (_kube: FakeKube, clock: FakeClock) => clock.advance(10_001)],
  [
    'refuses in the stream',
    (kube: FakeKube) =>
      kube.send(services, 'ERROR', { code: 500, message: 'RequestWatchProgress is disabled' }),
  ],
  ['ends the watch', (kube: FakeKube) => kube.endWatches(services)],
] as const) {
  t.test(`a streaming list that ${what} is replaced by one list; the next start streams again`, async (t) => {
    const { kube, sink, source, clock } = await lab(t);
    kube.store(services, service('a'));
    let begun = 0;
    kube.intercept = (query, _response, { url }) => {
      if (url?.startsWith(services) !== true || !query.has('sendInitialEvents')) return false;
      query.delete('sendInitialEvents'); // a server that does not know of it, or is too slow to get there
      begun++;
      return false;
    };
    await source.start(sink);
    await until(
      'the others',
      () => kube.watching(slices) === 1 && kube.watching(services) === 1 && begun === 1,
    );
    kube.sendText(services, `${JSON.stringify({ type: 'ADDED', object: service('a') })}\n`);
    await until('the event is read', () => clock.armed >= 8);
    misbehave(kube, clock);
    await until('synced', () => sink.syncs === 1);
    t.same(sink.names, ['Service/default/a']);
    t.equal(clock.waits.length, 1, 'after the wait that a failure costs');
    t.same([...sink.complaints], [], 'nothing is amiss: the list gives the same');
    await until('the watch', () => kube.watching(services) === 1 && kube.story(services).length === 3);
    t.equal(kube.story(services)[1], 'list resourceVersion=0');
    kube.intercept = () => false;
    kube.store(services, service('b'));
    kube.expire(services);
    await until('the new state', () => sink.objects.has('Service/default/b'));
    t.same(
      kube.story(services).slice(3),
      ['begin'],
      'one slow moment says nothing of what the server can do',
    );
  });
}

for (const [code, reason] of [
  [400, 'BadRequest'],
  [422, 'Invalid'],
] as const) {
  t.test(`a server that refuses a streaming list with ${code} is not asked again`, async (t) => {
    const { kube, sink, start, clock } = await lab(t);
    kube.intercept = (query, response) => {
      const isBegin = query.has('sendInitialEvents');
      if (isBegin) refuse(response, code, reason, 'sendInitialEvents is not known');
      return isBegin;
    };
    await start();
    await until('the watch', () => kube.watching(services) === 1);
    t.same(clock.waits, [], 'finding out is no failure');
    kube.store(services, service('b'));
    kube.expire(services);
    await until('the new state', () => sink.objects.has('Service/default/b'));
    t.same(
      kube.story(services).filter((word) => word === 'begin'),
      ['begin'],
    );
  });
}

type Trouble = (kube: FakeKube, response: ServerResponse) => void;

const troubles: readonly (readonly [string, Trouble])[] = [
  ['are refused', (_kube, response) => refuse(response, 500, 'InternalError', 'no such revision')],
  [
    'end with an error event',
    (_kube, response) => {
      const status = { kind: 'Status', code: 500, reason: 'InternalError', message: 'decoding failed' };
      response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    },
  ],
  [
    'bring an event of an unknown type',
    (_kube, response) => response.end(`${JSON.stringify({ type: 'SYNC', object: {} })}\n`),
  ],
  ['break off', (_kube, response) => void response.writeHead(200).write('{', () => response.destroy())],
  ['bring no JSON', (_kube, response) => response.end('{"type":"ADDED","obj\n')],
];

for (const [what, trouble] of troubles) {
  for (const begins of [false, true]) {
    const title = begins ? 'watches that begin' : 'watches that go on';
    t.test(`three ${title} that ${what} lead to one list`, async (t) => {
      const { kube, sink, start, clock } = await lab(t);
      kube.store(services, service('goes'));
      let left = begins ? 3 : 0;
      kube.intercept = (query, response, { url }) => {
        if (url?.startsWith(services) !== true || !query.has('watch') || left === 0) return false;
        left--;
        trouble(kube, response);
        return true;
      };
      if (begins) kube.store(services, service('stays'));
      if (!begins) {
        await start();
        left = 3;
        kube.forget(services, service('goes'));
        kube.store(services, service('stays'));
        kube.endWatches(services);
      } else await start();
      await until('the list', () => sink.objects.has('Service/default/stays'));
      await until('the watch', () => left === 0 && kube.watching(services) === 1);
      const story = kube.story(services).map((word) => word.replace(/ .*/, ''));
      const lists = story.filter((word) => word === 'list');
      t.equal(lists.length, 1, story.join(', '));
      t.ok(story.indexOf('list') >= (begins ? 1 : 4), 'not before the third');
      t.same(sink.names, ['Service/default/stays', ...(begins ? ['Service/default/goes'] : [])].sort());
      t.ok(clock.waits.length >= 2, 'each failure is waited for');
      await until('the problem is over', () => sink.problemList.length === 0);
    });
  }
}

t.test('refusals for other reasons lead to no list: 401, 403, 429', async (t) => {
  const { kube, start } = await lab(t);
  await start();
  let answers = [401, 403, 429, 429, 429, 403, 403, 403, 401, 401, 401];
  kube.intercept = (query, response, { url }) => {
    const [code, ...rest] = answers;
    if (url?.startsWith(services) !== true || code === undefined) return false;
    if (!query.has('watch')) return false;
    answers = rest;
    refuse(response, code, 'Refused', 'not now');
    return true;
  };
  kube.endWatches(services);
  await until('the end of it', () => answers.length === 0 && kube.watching(services) === 1);
  t.same([...new Set(kube.story(services).map((word) => word.replace(/ .*/, '')))], ['begin', 'watch']);
});

for (const code of [401, 403, 404, 429, 500, 503]) {
  t.test(
    `Pods and Namespaces refused with ${code}: Services are programmed, and it is reported (S-102)`,
    async (t) => {
      const { kube, sink, start } = await lab(t, new RecordingSink(), true);
      kube.store(services, service('a'));
      let refusing = true;
      kube.intercept = (_query, response, { url = '' }) => {
        const isOptional = [pods, namespaces].some((path) => url.startsWith(`${path}?`));
        if (isOptional && refusing) refuse(response, code, 'Refused', `refused with ${code}`);
        return isOptional && refusing;
      };
      await start();
      t.same(sink.names, ['Service/default/a']);
      await until('both are told', () => sink.problemList.length === 2);
      t.match(
        sink.problemList.map(({ where, message }) => `${where}: ${message}`).sort(),
        [`${namespaces}: refused with ${code}`, `${pods}: refused with ${code}`].map(
          (text) => new RegExp(text),
        ),
      );
      kube.put(services, service('b'));
      await until('the next change', () => sink.names.length === 2);
      kube.store(pods, { metadata: { name: 'web', namespace: 'shop', uid: 'p' } });
      refusing = false;
      await until(
        'they may be seen',
        () => sink.objects.has('Pod/shop/web') && sink.problemList.length === 0,
      );
      t.equal(sink.syncs, 1);
    },
  );
}

t.test('a missing answer for Pods delays readiness for a while after all else is listed', async (t) => {
  const { kube, sink, source, clock } = await lab(t, new RecordingSink(), true);
  kube.store(services, service('a'));
  let held = 0;
  kube.intercept = (_query, _response, { url = '' }) => {
    const isHeld = url.startsWith(`${pods}?`) && held < 1;
    if (isHeld) held++;
    return isHeld;
  };
  await source.start(sink);
  await until('the others', () => [services, slices, namespaces].every((path) => kube.watching(path) === 1));
  await until('Services', () => sink.objects.has('Service/default/a') && held === 1);
  t.equal(sink.syncs, 0, 'whose sockets to leave alone is to be known first, if it can be');
  clock.advance(10_001);
  await until('synced', () => sink.syncs === 1);
  kube.store(pods, { metadata: { name: 'web', namespace: 'shop', uid: 'p' } });
  clock.advance(30_001);
  await until('the pod', () => sink.objects.has('Pod/shop/web'));
  t.equal(sink.syncs, 1);
});

t.test('a server that is down at the start: Pods that fail first are listed later', async (t) => {
  const { kube, sink, source } = await lab(t, new RecordingSink(), true);
  const { port } = kube;
  kube.store(services, service('a'));
  await kube.stop();
  await source.start(sink);
  await until('all are told', () => sink.problemList.length === 5);
  let podsListed = false;
  kube.intercept = (_query, _response, { url = '' }) => {
    if (url.startsWith(`${pods}?`)) podsListed = true;
    return false;
  };
  await kube.start(port);
  await until('synced', () => sink.syncs === 1);
  t.ok(podsListed, 'a connection that failed is no refusal');
});

t.test(
  'three minutes of silence after a bookmark are a failure; without bookmarks they are none',
  async (t) => {
    const { kube, clock, sink, start } = await lab(t);
    await start();
    clock.advance(181_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(kube.story(services).length, 1, 'no bookmark was seen: the server may send none');
    const bookmark = async (): Promise<void> => {
      const { armed } = clock;
      kube.bookmark(services);
      await until('the bookmark is read', () => clock.armed > armed);
    };
    await bookmark();
    clock.advance(179_000);
    await bookmark();
    t.equal(kube.story(services).length, 1, 'not within three minutes');
    clock.advance(181_000);
    await until('the next watch', () => kube.story(services).length === 2 && kube.watching(services) === 1);
    t.match(clock.waits, [375], 'a failure, which is waited for');
    clock.advance(181_000);
    await until('one more', () => kube.story(services).length === 3 && kube.watching(services) === 1);
    clock.advance(181_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(kube.story(services).length, 3, 'a server that sends no more of them is not expected to');
    kube.put(services, service('a'));
    await until('the event', () => sink.objects.has('Service/default/a'));
  },
);

t.test('Pods whose streaming list fails are listed before the source is synced (S-102)', async (t) => {
  const { kube, sink, start } = await lab(t, new RecordingSink(), true);
  kube.store(pods, { metadata: { name: 'web', namespace: 'shop', uid: 'p' } });
  kube.intercept = (query, response, { url = '' }) => {
    if (!url.startsWith(`${pods}?`) || !query.has('sendInitialEvents')) return false;
    const status = { kind: 'Status', code: 500, message: 'RequestWatchProgress is disabled' };
    response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
    return true;
  };
  let atSync: readonly string[] = [];
  const { synced } = sink;
  sink.synced = () => {
    atSync = sink.names;
    synced.call(sink);
  };
  await start();
  t.same(atSync, ['Pod/shop/web'], 'an old etcd is no refusal');
});
