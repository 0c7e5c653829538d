// The manifests source: what a folder of YAML means, and what happens while it is edited.
import { mkdtemp, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { SluiceError } from '../../../../src/errors.ts';
import { readManifest } from '../../../../src/source/manifests/document.ts';
import { ManifestSource } from '../../../../src/source/manifests/source.ts';
import { until } from '../../../support/run/process.ts';
import { RecordingSink } from '../../../support/kube/sink.ts';

/** No two have one cluster address. */
function service(name: string, extra = ''): string {
  const letters = Buffer.from(name).reduce((sum, letter) => sum + letter, 0);
  const last = name === 'web' ? 10 : 20 + (letters % 200);
  return `apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec:
  clusterIP: 10.96.0.${last}
  ports:
    - { name: http, port: 80 }
${extra}`;
}

function slice(name: string, address: string): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: ${name}
  labels: { kubernetes.io/service-name: web }
addressType: IPv4
endpoints:
  - addresses: [${address}]
ports:
  - { name: http, port: 8080 }
`;
}

interface Lab {
  readonly folder: string;
  readonly source: ManifestSource;
  readonly sink: RecordingSink;
  write(name: string, text: string): Promise<void>;
}

async function lab(t: Test, files: Record<string, string> = {}): Promise<Lab> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sluice-manifests-'));
  const write = async (name: string, text: string): Promise<void> => writeFile(path.join(folder, name), text);
  for (const [name, text] of Object.entries(files)) await write(name, text);
  const source = new ManifestSource(folder);
  const sink = new RecordingSink();
  t.teardown(async () => {
    await source.stop();
    await rm(folder, { recursive: true, force: true });
  });
  await source.start(sink);
  return { folder, source, sink, write };
}

t.test('errors name line and field, and affect nothing else', async (t) => {
  const cases: [what: string, text: string, where: string, field: string, message: RegExp][] = [
    [
      'a port out of range',
      service('a').replace('port: 80', 'port: 80800'),
      'f:7',
      'spec.ports[0].port',
      /65535/,
    ],
    [
      'a protocol unheard of',
      service('a').replace('port: 80', 'port: 80, protocol: TPC'),
      'f:7',
      'spec.ports[0].protocol',
      /TCP, UDP/,
    ],
    [
      'text for a number',
      service('a').replace('port: 80', 'port: "80"'),
      'f:7',
      'spec.ports[0].port',
      /whole number/,
    ],
    ['a missing port', service('a').replace(', port: 80', ''), 'f:7', 'spec.ports[0].port', /missing/],
    ['no name', service('a').replace('name: a', 'nam: a'), 'f:3', 'metadata.name', /missing/],
    [
      'an address that is none',
      slice('a', '10.0.0.300'),
      'f:8',
      'endpoints[0].addresses[0]',
      /no IP address/,
    ],
    [
      'no addressType',
      slice('a', '10.0.0.3').replace('addressType', 'adressType'),
      'f:1',
      'addressType',
      /missing/,
    ],
    [
      'another API version',
      service('a').replace('apiVersion: v1', 'apiVersion: v2'),
      'f:1',
      'apiVersion',
      /must be v1/,
    ],
    ['no kind', service('a').replace('kind: Service', ''), 'f:1', 'kind', /missing/],
    ['no object at all', 'hello', 'f:1', '', /no Kubernetes object/],
    ['bad YAML', 'kind: Service\nmetadata: name: x\n', 'f:2', '', /./],
    ['an unknown alias', 'kind: *nothing\n', 'f:1', '', /nothing/],
    [
      'a boolean that is none',
      slice('a', '10.0.0.3').replace('ports:', '    conditions: { ready: yes }\nports:'),
      'f:9',
      'endpoints[0].conditions.ready',
      /true or false/,
    ],
    [
      'a policy unheard of',
      service('a', '  internalTrafficPolicy: local\n'),
      'f:8',
      'spec.internalTrafficPolicy',
      /Cluster, Local/,
    ],
    [
      'a range that is none',
      service('a', '  loadBalancerSourceRanges: [10.0.0.0/33]\n'),
      'f:8',
      'spec.loadBalancerSourceRanges[0]',
      /no CIDR/,
    ],
  ];
  for (const [what, text, where, field, message] of cases) {
    const lines = service('before').split('\n').length;
    const { objects, problems, complete } = readManifest(
      'f',
      `${service('before')}---\n${text}\n---\n${service('after')}`,
    );
    t.match(problems, [{ field, message }], what);
    t.equal(problems[0]?.where, `f:${Number(where.slice(2)) + lines}`, `${what}: the line`);
    t.same(
      objects.map(({ object }) => object.meta.name),
      ['before', 'after'],
      `${what}: the others stay`,
    );
    t.notOk(complete, `${what}: the file is known to be incomplete`);
  }
});

t.test('what a file may hold', async (t) => {
  const list = JSON.stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'l', namespace: 'x' },
        spec: { clusterIP: '10.0.0.1', ports: [{ port: 1 }] },
      },
      {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'n', namespace: 'ignored', labels: { 'topology.kubernetes.io/zone': 'z' } },
      },
    ],
  });
  const found = readManifest('f', list);
  t.same(found.problems, []);
  t.match(
    found.objects.map(({ object }) => object),
    [
      { kind: 'Service', meta: { namespace: 'x', name: 'l', uid: /./ } },
      { kind: 'Node', meta: { namespace: '', name: 'n', labels: { 'topology.kubernetes.io/zone': 'z' } } },
    ],
  );
  const others = `---\n---\napiVersion: apps/v1\nkind: Deployment\n---\napiVersion: serving.knative.dev/v1\nkind: Service\n---\n# nothing\n`;
  const told = readManifest('f', others);
  t.match(told, { objects: [], complete: true }, 'other kinds belong to others');
  t.same(
    told.problems.map(({ where, message }) => `${where}: ${message}`),
    ['f:4: Deployment of apps/v1 is not read', 'f:7: Service of serving.knative.dev/v1 is not read'],
  );
  const foreign = service('a').replace(
    'name: a',
    `name: a, labels: { service.kubernetes.io/service-proxy-name: "" }`,
  );
  const leftAlone = readManifest('f', foreign);
  t.match(leftAlone, { objects: [], complete: true }, 'S-2: another proxy’s, even by an empty label');
  t.match(leftAlone.problems, [{ where: 'f:3', field: 'metadata.labels', message: /service-proxy-name/ }]);
  const bomb = `a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c]\n`;
  t.match(
    readManifest('f', bomb).problems,
    [{ message: /alias/i }],
    'aliases without end are an error, not the end',
  );
});

t.test('a folder that is missing, or no folder, is an error at start', async (t) => {
  const missing = new ManifestSource('/nowhere/at/all');
  await t.rejects(missing.start(new RecordingSink()), { code: 'SLB_E_MANIFEST', message: /nowhere/ });
  const file = new ManifestSource(import.meta.filename);
  await t.rejects(file.start(new RecordingSink()), SluiceError);
});

t.test('start delivers everything in one batch, then reports synced', async (t) => {
  const { sink } = await lab(t, {
    'b.yaml': slice('web-1', '10.1.0.1'),
    'a.yml': service('web'),
    'c.json': '{"kind":"Secret","apiVersion":"v1"}',
    '.hidden.yaml': service('hidden'),
    'notes.txt': service('notes'),
  });
  t.equal(sink.batches.length, 1);
  t.equal(sink.syncs, 1);
  t.same(sink.names, ['EndpointSlice/default/web-1', 'Service/default/web']);
  t.same(sink.problemList, [{ where: 'c.json:1', field: 'kind', message: 'Secret of v1 is not read' }]);
});

t.test('an edit is one batch, and only of what changed; re-creation is seen only on delete', async (t) => {
  const { sink, write, folder } = await lab(t, {
    'a.yaml': `${service('web')}---\n${service('old')}---\n${service('same')}`,
  });
  const uid = sink.objects.get('Service/default/web')?.meta.uid;
  await write(
    'a.yaml',
    `${service('web', '  sessionAffinity: ClientIP\n')}---\n${service('same')}---\n${service('new')}`,
  );
  await until('the edit', () => sink.batches.length > 1);
  t.same(
    sink.story.slice(3),
    ['del Service/default/old', 'put Service/default/web', 'put Service/default/new'],
    'S-20: deletions first',
  );
  t.equal(sink.batches.length, 2);
  t.equal(sink.objects.get('Service/default/web')?.meta.uid, uid);

  await write(
    'a.yaml',
    `# touched\n${service('web', '  sessionAffinity: ClientIP\n')}---\n${service('same')}---\n${service('new')}`,
  );
  await write('b.yaml', slice('web-1', '10.1.0.1'));
  await until('the second file', () => sink.objects.has('EndpointSlice/default/web-1'));
  t.equal(sink.batches.length, 3, 'S-6: an edit that changes nothing is none');

  await rm(path.join(folder, 'a.yaml'));
  await until('the deletion', () => sink.objects.size === 1);
  t.same(sink.names, ['EndpointSlice/default/web-1']);
});

t.test('a half-written file keeps its last good content until it is whole', async (t) => {
  const whole = `${service('web')}---\n${service('shop')}---\n${slice('web-1', '10.1.0.1')}`;
  const { sink, write } = await lab(t, { 'a.yaml': whole });
  await write('a.yaml', '');
  await until('the empty file is told', () => sink.problemList.length === 1);
  t.match(sink.problemList, [{ where: 'a.yaml:1', message: /empty/ }]);
  const cut = whole.slice(0, whole.indexOf('addressType') + 8).replace('10.96.0.10', '10.96.0.11');
  await write('a.yaml', cut);
  await until('the half file is told', () => /:2\d$/.test(sink.problemList[0]?.where ?? ''));
  t.equal(sink.objects.size, 3, 'nothing was taken away');
  t.match(sink.objects.get('Service/default/web'), { clusterIPs: ['10.96.0.11'] }, 'what is whole is used');
  await write('a.yaml', service('web'));
  await until('the whole file', () => sink.objects.size === 1);
  t.same(sink.problemList, []);
});

t.test('a document with an error leaves its object as it was', async (t) => {
  const { sink, write } = await lab(t, { 'a.yaml': `${service('web')}---\n${service('shop')}` });
  await write(
    'a.yaml',
    `${service('web').replace('port: 80', 'port: 0')}---\n${service('shop', '  sessionAffinity: ClientIP\n')}`,
  );
  await until('the problem', () => sink.problemList.length === 1);
  t.match(sink.objects.get('Service/default/web'), { ports: [{ port: 80 }] });
  t.match(sink.objects.get('Service/default/shop'), { affinitySec: 10800 }, 'S-14: the default timeout');
});

t.test(
  'two files that define one object: the first by name counts, the other after its deletion',
  async (t) => {
    const { sink, write, folder } = await lab(t, {
      'b.yaml': service('web').replace('10.96.0.10', '10.96.0.2'),
    });
    await write('a.yaml', service('web').replace('10.96.0.10', '10.96.0.1'));
    await until('the clash', () => sink.problemList.length === 1);
    t.match(sink.problemList, [
      { where: 'b.yaml:1', field: 'metadata.name', message: /default\/web .* a\.yaml:1/ },
    ]);
    t.match(sink.objects.get('Service/default/web'), { clusterIPs: ['10.96.0.1'] });
    await rm(path.join(folder, 'a.yaml'));
    await until('the other', () => sink.problemList.length === 0);
    t.match(sink.objects.get('Service/default/web'), { clusterIPs: ['10.96.0.2'] });
  },
);

t.test('a folder that disappears deletes nothing, and is found again', async (t) => {
  const { sink, folder } = await lab(t, { 'a.yaml': service('web') });
  await rename(folder, `${folder}-gone`);
  await until('the problem', () => sink.problemList.length === 1);
  t.match(sink.problemList, [{ where: folder, message: /ENOENT/ }]);
  t.same(sink.names, ['Service/default/web']);
  await rm(`${folder}-gone`, { recursive: true });
  await mkdir(folder);
  await writeFile(path.join(folder, 'a.yaml'), service('shop'));
  await until('the new folder', () => sink.objects.has('Service/default/shop'));
  t.same(sink.names, ['Service/default/shop']);
  t.same(sink.problemList, []);
  await writeFile(path.join(folder, 'a.yaml'), service('later'));
  await until('an edit in the new folder', () => sink.objects.has('Service/default/later'));
});

t.test('a mounted ConfigMap: files are links through a link that is swapped', async (t) => {
  const { sink, folder } = await lab(t);
  for (const version of ['v1', 'v2']) {
    await mkdir(path.join(folder, `..${version}`));
    await writeFile(path.join(folder, `..${version}`, 'a.yaml'), service(version));
  }
  await symlink('..v1', path.join(folder, '..data'));
  await symlink('..data/a.yaml', path.join(folder, 'a.yaml'));
  await until('the first version', () => sink.objects.has('Service/default/v1'));
  await symlink('..v2', path.join(folder, '..tmp'));
  await rename(path.join(folder, '..tmp'), path.join(folder, '..data'));
  await until('the second version', () => sink.objects.has('Service/default/v2'));
  t.same(sink.names, ['Service/default/v2']);
});

t.test('a file is read when its writer is done; nothing is delivered after stop', async (t) => {
  const { sink, write, source } = await lab(t);
  const text = `${service('web')}---\n${service('shop')}`;
  for (let end = 20; end < text.length + 20; end += 20) {
    await write('a.yaml', text.slice(0, end));
    await sleep(2);
  }
  await until('the whole', () => sink.objects.size === 2);
  await source.stop();
  const { length } = sink.batches;
  await write('b.yaml', service('late'));
  await sleep(150);
  t.equal(sink.batches.length, length);
});
