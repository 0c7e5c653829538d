// The store: which Services a change concerns, and when it is delivered.
import t from 'tap';
import type { Change, SourceObject } from '../../../src/source/objects.ts';
import { createStore, type Store } from '../../../src/source/store.ts';
import { endpoint, node, service, slice } from '../../support/kube/objects.ts';

function put(object: SourceObject): Change {
  return { op: 'put', object };
}

function setUp(): { store: Store; dirty: string[][]; run: () => void } {
  const dirty: string[][] = [];
  const tasks: (() => void)[] = [];
  const store = createStore({
    nodeName: 'node-a',
    schedule: (task) => tasks.push(task),
  });
  store.subscribe({ onServices: (keys) => dirty.push([...keys]) });
  return { store, dirty, run: () => tasks.splice(0).forEach((task) => task()) };
}

function synced(): ReturnType<typeof setUp> {
  const all = setUp();
  all.store.synced();
  all.run();
  all.dirty.length = 0;
  return all;
}

t.test('nothing is delivered before everything is listed (S-102)', async (t) => {
  const { store, dirty, run } = setUp();
  store.changes([put(service('web', ['10.96.0.1'])), put(slice('s', 'web', ['10.0.0.1']))]);
  run();
  t.same(dirty, []);
  store.synced();
  store.changes([put(service('api', ['10.96.0.2']))]);
  run();
  t.same(dirty, [['default/web', 'default/api']], 'one batch');
});

t.test('an empty cluster is delivered too: there may be old rows to remove', async (t) => {
  const { store, dirty, run } = setUp();
  store.synced();
  run();
  t.same(dirty, [[]]);
});

t.test('a change concerns its own service only (S-33)', async (t) => {
  const { store, dirty, run } = synced();
  store.changes([put(slice('s', 'web', ['10.0.0.1'])), put(slice('s', 'web', ['10.0.0.2']))]);
  run();
  t.same(dirty.splice(0), [['default/web']]);
  t.match(
    store.slices('default/web'),
    [{ endpoints: [{ addresses: ['10.0.0.2'] }] }],
    'before its Service (S-23)',
  );
  store.changes([{ op: 'del', kind: 'EndpointSlice', namespace: 'default', name: 's' }]);
  run();
  t.same(dirty.splice(0), [['default/web']]);
  t.same(store.slices('default/web'), []);
  store.changes([{ op: 'del', kind: 'Service', namespace: 'default', name: 'web' }]);
  run();
  t.same(dirty, [], 'what was not there is no change');
});

t.test('a slice whose label changes leaves one service and joins another (S-21)', async (t) => {
  const { store, dirty, run } = synced();
  store.changes([put(slice('s', 'web', ['10.0.0.1']))]);
  run();
  store.changes([put(slice('s', 'api', ['10.0.0.1']))]);
  run();
  t.same(dirty.at(-1), ['default/web', 'default/api']);
  t.same(store.slices('default/web'), []);
  t.equal(store.slices('default/api').length, 1);
  store.changes([put(slice('s', '', ['10.0.0.1']))]);
  run();
  t.same(dirty.at(-1), ['default/api'], 'no label, no service');
  t.same(store.slices('default/api'), []);
});

t.test('of nodes only our own zone matters (S-111)', async (t) => {
  const { store, dirty, run } = synced();
  const zone = (name: string) => ({ 'topology.kubernetes.io/zone': name });
  store.changes([
    put(slice('hinted', 'web', [endpoint('10.0.0.1', { zoneHints: ['west'] })])),
    put(slice('plain', 'api', ['10.0.0.2'])),
  ]);
  run();
  dirty.length = 0;
  store.changes([put(node('Node-A', zone('west')))]);
  run();
  t.same(dirty.splice(0), [['default/web']], 'names are lower-cased (S-110)');
  t.equal(store.zone(), 'west');
  store.changes([
    put({ ...node('node-a', zone('west')), taints: ['heartbeat'] }),
    put(node('node-b', zone('east'))),
  ]);
  run();
  t.same(dirty, [], 'heartbeats and strangers');
  t.same(store.node()?.taints, ['heartbeat']);
  store.changes([{ op: 'del', kind: 'Node', namespace: '', name: 'node-a' }]);
  run();
  t.same(dirty, [['default/web']]);
  t.equal(store.zone(), '');
});

t.test(
  "changes of this Node's addresses and ranges are delivered at once, heartbeats are not (S-108, S-111)",
  async (t) => {
    const told: (readonly string[] | undefined)[] = [];
    const store = createStore({ nodeName: 'node-a' });
    store.subscribe({ onNode: () => told.push(store.node()?.podCIDRs) });
    const own = node('node-a');
    store.changes([put(own)]);
    store.changes([
      put({ ...own, taints: ['heartbeat'] }),
      put({ ...node('node-b'), podCIDRs: ['10.0.0.0/24'] }),
    ]);
    t.same(told, [[]], 'the object came');
    store.changes([put({ ...own, podCIDRs: ['10.1.0.0/24'] })]);
    store.changes([put({ ...own, addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] })]);
    store.changes([{ op: 'del', kind: 'Node', namespace: '', name: 'node-a' }]);
    t.same(told, [[], ['10.1.0.0/24'], [], undefined]);
    store.changes([{ op: 'del', kind: 'Node', namespace: '', name: 'node-a' }, put(own), put(own)]);
    t.equal(told.length, 5, 'one batch, one call');
  },
);

t.test('Services that depend on a changed object are delivered too (S-61)', async (t) => {
  const { store, dirty, run } = synced();
  store.touch(['default/web']);
  run();
  t.same(dirty, [['default/web']]);
  const early = setUp();
  early.store.touch(['default/web']);
  early.run();
  t.same(early.dirty, [], 'but not before everything is listed');
});
