// Exemptions from the socket hooks: what objects say, which of them decides, and the cgroups of pods.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { PodCgroupTrees, uidKey } from '../../../src/kernel/podcgroups.ts';
import { exemptPods } from '../../../src/model/exempt.ts';
import type { NamespaceObject, PodObject, SourceKind } from '../../../src/source/objects.ts';
import { readManifest } from '../../../src/source/manifests/document.ts';
import { parseObject } from '../../../src/source/parse/object.ts';
import { pathText } from '../../../src/source/parse/reader.ts';
import { createStore } from '../../../src/source/store.ts';
import { meta } from '../../support/kube/objects.ts';

const mark = 'sluice.dev/socket-hooks';

type Metadata = Partial<Record<'labels' | 'annotations', Record<string, unknown>>>;

function read(kind: SourceKind, metadata: Metadata, spec: object = {}) {
  const raw = { metadata: { name: 'web', namespace: 'shop', uid: 'uid-1', ...metadata }, spec };
  const { object, problems } = parseObject(kind, raw);
  return { object, problems: problems.map(({ path, message }) => `${pathText(path)}: ${message}`) };
}

t.test('the setting of a Service: by annotation alone', async (t) => {
  const cases: [metadata: Metadata, socketHooks: boolean, problems: string[]][] = [
    [{}, true, []],
    [{ annotations: { [mark]: 'true' } }, true, []],
    [{ annotations: { [mark]: 'false' } }, false, []],
    [{ labels: { [mark]: 'false' } }, true, []],
    [
      { annotations: { [mark]: 'no' } },
      true,
      [`metadata.annotations.${mark}: must be "true" or "false", not "no"`],
    ],
    [{ annotations: { [mark]: false } }, true, [`metadata.annotations.${mark}: must be text, not false`]],
  ];
  for (const [metadata, socketHooks, problems] of cases) {
    const { object, problems: found } = read('Service', metadata, { ports: [{ port: 80 }] });
    t.match(object, { socketHooks }, JSON.stringify(metadata));
    t.same(found, problems, JSON.stringify(metadata));
  }
});

t.test('the setting of a Pod and a Namespace: by annotation or label, the annotation first', async (t) => {
  const cases: [metadata: Metadata, socketHooks: boolean | undefined][] = [
    [{}, undefined],
    [{ labels: { [mark]: 'false' } }, false],
    [{ annotations: { [mark]: 'false' } }, false],
    [{ labels: { [mark]: 'true' } }, true],
    [{ labels: { [mark]: 'false' }, annotations: { [mark]: 'true' } }, true],
  ];
  for (const kind of ['Pod', 'Namespace'] as const) {
    for (const [metadata, socketHooks] of cases) {
      const { object, problems } = read(kind, metadata);
      t.strictSame(
        object?.kind === 'Pod' || object?.kind === 'Namespace' ? object.socketHooks : 'nothing',
        socketHooks,
        `${kind} ${JSON.stringify(metadata)}`,
      );
      t.same(problems, []);
    }
    t.same(read(kind, { labels: { [mark]: 'off' } }).problems, [
      `metadata.labels.${mark}: must be "true" or "false", not "off"`,
    ]);
  }
});

t.test('of a Pod little is kept, with the uid that kubelet uses', async (t) => {
  const { object } = read('Pod', { labels: { app: 'web' }, annotations: { note: 'long' } });
  t.strictSame(object, {
    kind: 'Pod',
    meta: { namespace: 'shop', name: 'web', uid: 'uid-1', labels: {}, annotations: {} },
    nodeName: undefined,
    cgroupUid: 'uid-1',
    socketHooks: undefined,
    mesh: undefined,
  });
  t.match(read('Pod', {}, { nodeName: 'node-a' }).object, { nodeName: 'node-a' });
  const mirror = { annotations: { 'kubernetes.io/config.mirror': '81cdabfc720501d9e81b425b15921b4d' } };
  t.match(read('Pod', mirror).object, { cgroupUid: '81cdabfc720501d9e81b425b15921b4d' }, 'a static pod');
});

t.test('pods of service meshes', async (t) => {
  const cases: [annotations: Record<string, string>, mesh: string | undefined][] = [
    [{ 'sidecar.istio.io/status': '{"containers":["istio-proxy"]}' }, 'istio'],
    [{ 'sidecar.istio.io/inject': 'true' }, undefined],
    [{ 'ambient.istio.io/redirection': 'enabled' }, 'istio ambient'],
    [{ 'ambient.istio.io/redirection': 'disabled' }, undefined],
    [{ 'linkerd.io/proxy-version': 'edge-25.1.1' }, 'linkerd'],
    [{ 'linkerd.io/inject': 'enabled' }, undefined],
    [{ 'kuma.io/sidecar-injected': 'true' }, 'kuma'],
    [{ 'kuma.io/sidecar-injected': 'false' }, undefined],
    [{ 'consul.hashicorp.com/transparent-proxy-status': 'enabled' }, 'consul'],
  ];
  for (const [annotations, mesh] of cases) {
    const { object } = read('Pod', { annotations });
    t.equal(object?.kind === 'Pod' ? object.mesh : 'nothing', mesh, JSON.stringify(annotations));
  }
});

function pod(name: string, more: Partial<PodObject> = {}): PodObject {
  return {
    kind: 'Pod',
    meta: { ...meta(name), namespace: 'shop' },
    nodeName: undefined,
    cgroupUid: `uid-${name}`,
    socketHooks: undefined,
    mesh: undefined,
    ...more,
  };
}

function namespace(name: string, socketHooks: boolean | undefined): NamespaceObject {
  return { kind: 'Namespace', meta: { ...meta(name), namespace: '' }, socketHooks };
}

t.test('precedence: the pod, then its namespace, then its mesh', async (t) => {
  const cases: [
    pod: boolean | undefined,
    namespace: boolean | undefined,
    mesh: string | undefined,
    reason: string | undefined,
  ][] = [
    [undefined, undefined, undefined, undefined],
    [false, undefined, undefined, 'pod'],
    [false, true, 'istio', 'pod'],
    [true, false, undefined, undefined],
    [true, undefined, 'istio', undefined],
    [undefined, false, undefined, 'namespace'],
    [undefined, false, 'istio', 'namespace'],
    [undefined, undefined, 'istio', 'mesh'],
    [undefined, true, 'istio', 'mesh'],
    [undefined, true, undefined, undefined],
  ];
  for (const [socketHooks, ofNamespace, mesh, reason] of cases) {
    const known = namespace('shop', ofNamespace);
    const found = exemptPods([pod('web', { socketHooks, mesh })], (name) =>
      name === 'shop' ? known : undefined,
    );
    t.same(
      found,
      reason === undefined
        ? []
        : [{ name: 'shop/web', cgroupUid: 'uid-web', reason, mesh: reason === 'mesh' ? mesh : '' }],
      JSON.stringify({ socketHooks, ofNamespace, mesh }),
    );
  }
  t.same(
    exemptPods([pod('web', { socketHooks: false })], () => undefined).length,
    1,
    'a namespace that cannot be read',
  );
});

t.test('the cgroups of pods, as each driver names them', async (t) => {
  const uid = '0f3a52c4-93b1-4c0e-9d6b-2f1f6a1b0c11';
  const escaped = uid.replaceAll('-', '_');
  const pods = [
    ['cgroupfs, guaranteed', `kubepods/pod${uid}`],
    ['cgroupfs, burstable', `kubepods/burstable/pod${uid}`],
    ['systemd, guaranteed', `kubepods.slice/kubepods-pod${escaped}.slice`],
    ['systemd', `kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${escaped}.slice`],
    ['below --cgroup-root, cgroupfs', `kubelet/kubepods/besteffort/pod${uid}`],
    [
      'below --cgroup-root, systemd',
      `kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${escaped}.slice`,
    ],
  ] as const;
  const others = [
    `pod${uid}`, // in no tree of pods
    `system.slice/kubepods.service/kubepods/pod${uid}`,
    `kubepods/burstable/other/pod${uid}`, // too deep
    `kubepods.slice/cri-containerd-${uid}.scope`,
  ];
  for (const [what, path] of pods) {
    const root = mkdtempSync(join(tmpdir(), 'sluice-cgroups-'));
    t.teardown(() => rmSync(root, { recursive: true }));
    for (const one of [path, ...others]) mkdirSync(join(root, one, 'crio-1.scope'), { recursive: true });
    t.same([...new PodCgroupTrees(root).pods()], [[uidKey(uid), [join(root, path)]]], what);
  }
  t.same([...new PodCgroupTrees('/nowhere').pods()], [], 'no folder, no pods');
});

t.test('a static pod’s cgroup; a pod that has one in each of two trees', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'sluice-cgroups-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const hash = '81cdabfc720501d9e81b425b15921b4d';
  const paths = ['a/kubepods', 'b/kubepods'].map((tree) => join(root, tree, `pod${hash}`));
  for (const path of paths) mkdirSync(path, { recursive: true });
  t.same([...(new PodCgroupTrees(root).pods().get(uidKey(hash)) ?? [])].sort(), paths);
});

t.test('new pods are found in known trees, new trees by an interruptible walk', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'sluice-cgroups-'));
  t.teardown(() => rmSync(root, { recursive: true }));
  const make = (path: string): unknown => mkdirSync(join(root, path), { recursive: true });
  for (let slice = 0; slice < 500; slice++) make(`machine.slice/unit-${String(slice)}.slice/inner`);
  make('kubepods/burstable/poda');
  const trees = new PodCgroupTrees(root);
  const found = (): string[] => [...trees.pods().keys()].sort();
  t.same(found(), ['a']);
  make('kubepods/burstable/podb');
  make('kubepods/podc');
  make('kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podd.slice');
  t.same(found(), ['a', 'b', 'c'], 'of the known tree');
  let turns = 0;
  let walking = true;
  const turn = (): void => {
    turns++;
    if (walking) setImmediate(turn);
  };
  setImmediate(turn);
  await Promise.all([trees.rediscover(), trees.rediscover()]);
  walking = false;
  t.ok(turns > 100, `${String(turns)} turns of the loop meanwhile`);
  t.same(found(), ['a', 'b', 'c', 'd']);
  rmSync(join(root, 'kubepods'), { recursive: true });
  t.same(found(), ['d'], 'a tree that has gone');
});

t.test('the store keeps the pods of this node, and reports only socket settings', async (t) => {
  let told = 0;
  const store = createStore({ nodeName: 'node-a' });
  store.subscribe({ onPods: () => told++ });
  const put = (object: PodObject | NamespaceObject): void => store.changes([{ op: 'put', object }]);
  const names = (): string[] => store.pods().map((one) => one.meta.name);
  put(pod('here', { nodeName: 'Node-A' }));
  put(pod('there', { nodeName: 'node-b' }));
  put(pod('filtered'));
  t.same([names(), told], [['here', 'filtered'], 2]);
  put(pod('filtered'));
  t.equal(told, 2, 'nothing new');
  put(namespace('shop', false));
  t.same([store.namespace('shop')?.socketHooks, told], [false, 3]);
  put(pod('here', { nodeName: 'node-b' }));
  store.changes([
    { op: 'del', kind: 'Pod', namespace: 'shop', name: 'filtered' },
    { op: 'del', kind: 'Namespace', namespace: '', name: 'shop' },
    { op: 'del', kind: 'Namespace', namespace: '', name: 'unknown' },
  ]);
  t.same([names(), store.namespace('shop'), told], [[], undefined, 5], 'a batch is told once');
  store.synced();
  t.equal(told, 6, 'all is known: rows of pods that have gone meanwhile can go');
});

t.test('manifests may hold Pods and Namespaces', async (t) => {
  const text = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {${mark}: "false"}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, uid: 0f3a52c4, annotations: {${mark}: "true"}}
spec: {nodeName: node-a}
---
apiVersion: v1
kind: Pod
metadata: {name: wrong, annotations: {${mark}: "maybe"}}
`;
  const { objects, problems } = readManifest('pods.yaml', text);
  t.match(
    objects.map(({ object }) => object),
    [
      { kind: 'Namespace', meta: { name: 'shop', namespace: '' }, socketHooks: false },
      { kind: 'Pod', cgroupUid: '0f3a52c4', nodeName: 'node-a', socketHooks: true },
    ],
  );
  t.match(problems, [{ where: 'pods.yaml:13', field: `metadata.annotations.${mark}` }]);
});
