// The kube source against a real API server, with exactly the rights of deploy/rbac.yaml.
//
//   kubectl ──► kube-apiserver ──► etcd          everything on the loopback
//                    ▲
//               KubeSource ──► sink
import path from 'node:path';
import t from 'tap';
import { KubeSource } from '../../src/source/kube/source.ts';
import { ApiServer } from '../support/kube/apiserver.ts';
import { until } from '../support/run/process.ts';
import { RecordingSink } from '../support/kube/sink.ts';

const deploy = path.join(import.meta.dirname, '../../deploy');

const server = await ApiServer.start();
const sink = new RecordingSink();
// Short watches: the server ends them, and sends a bookmark before it does, while one waits.
const kubeconfig = await server.agentKubeconfig();
const source = new KubeSource({ kubeconfig, nodeName: 'me', watchSeconds: { min: 4, max: 5 } });
t.teardown(async () => {
  await source.stop();
  await server.stop();
});
await server.apply(node('me', 'zone-a'));
await server.apply(node('other', 'zone-b'));
await source.start(sink);

function node(name: string, zone: string): string {
  return `{apiVersion: v1, kind: Node, metadata: {name: ${name}, labels: {topology.kubernetes.io/zone: ${zone}}}}`;
}

function service(name: string, extra = ''): string {
  return `apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec: { ports: [{ name: http, port: 80 }]${extra} }`;
}

function slice(name: string, owner: string, addresses: readonly string[]): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${name}, labels: { kubernetes.io/service-name: ${owner} } }
addressType: IPv4
endpoints: [${addresses.map((address) => `{ addresses: [${address}] }`).join(', ')}]
ports: [{ name: http, port: 8080 }]`;
}

function has(key: string): boolean {
  return sink.objects.has(key);
}

function endpoints(key: string): readonly (string | undefined)[] {
  const object = sink.objects.get(key);
  return object?.kind === 'EndpointSlice' ? object.endpoints.map(({ addresses }) => addresses[0]) : [];
}

/** Requests that list everything of a resource, one way or the other. */
function lists(resource: string): number {
  const all = server.agentRequests().filter((request) => request.resource === resource);
  return all.filter(({ verb, query }) => verb === 'list' || query.has('sendInitialEvents')).length;
}

function versionsAsked(resource: string): number[] {
  const watches = server
    .agentRequests()
    .filter(({ resource: of, verb }) => of === resource && verb === 'watch');
  return watches.flatMap(({ query }) =>
    query.has('resourceVersion') ? Number(query.get('resourceVersion')) : [],
  );
}

t.test('objects applied, edited and deleted with kubectl arrive; of Nodes this one alone', async (t) => {
  await until('synced', () => sink.syncs === 1);
  t.same(sink.names, ['Node//me', 'Service/default/kubernetes'], 'S-1');
  await server.apply(`${service('web')}\n---\n${slice('web-1', 'web', ['10.1.0.1', '10.1.0.2'])}`);
  await until(
    'the service and its slice',
    () => has('Service/default/web') && has('EndpointSlice/default/web-1'),
  );
  const web = sink.objects.get('Service/default/web');
  t.match(web, { type: 'ClusterIP', ipFamilies: [4], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] });
  t.match(web?.kind === 'Service' && web.clusterIPs[0], /^10\.96\./, 'with the address the server gave it');
  t.notOk('kubectl.kubernetes.io/last-applied-configuration' in (web?.meta.annotations ?? {}));

  await server.apply(slice('web-1', 'web', ['10.1.0.2', '10.1.0.3', '10.1.0.4']));
  await until('the edit', () => endpoints('EndpointSlice/default/web-1').length === 3);
  await server.kubectl('label', 'node', 'me', 'topology.kubernetes.io/zone=zone-c', '--overwrite');
  const zone = (): string | undefined =>
    sink.objects.get('Node//me')?.meta.labels['topology.kubernetes.io/zone'];
  await until('S-111: the zone', () => zone() === 'zone-c');
  await server.kubectl('delete', 'endpointslice', 'web-1');
  await until('the deletion', () => !has('EndpointSlice/default/web-1'));
  t.ok(has('Service/default/web'));
});

t.test(
  'S-2: a label that assigns a Service to another proxy deletes it, its removal adds it again',
  async (t) => {
    const label = 'service.kubernetes.io/service-proxy-name';
    await server.kubectl('label', 'service', 'web', `${label}=`);
    await until('the label', () => !has('Service/default/web'));
    await server.kubectl('label', 'service', 'web', `${label}-`);
    await until('its removal', () => has('Service/default/web'));
    t.same(
      sink.story.filter((word) => word.endsWith('Service/default/web')),
      ['put', 'del', 'put'].map((op) => `${op} Service/default/web`),
    );
  },
);

t.test('S-20: a Service deleted and created again is a new one', async (t) => {
  const before = sink.objects.get('Service/default/web')?.meta.uid;
  await server.kubectl('delete', 'service', 'web');
  await server.apply(service('web'));
  await until('the new one', () => (sink.objects.get('Service/default/web')?.meta.uid ?? before) !== before);
  t.pass();
});

t.test('bookmarks alone: watches continue from them, nothing is listed', async (t) => {
  const label = 'labels: { service.kubernetes.io/service-proxy-name: other }';
  await server.apply(service('foreign').replace('name: foreign', `name: foreign, ${label}`));
  const { length } = sink.batches;
  const listed = lists('services');
  const before = versionsAsked('services');
  let edits = 0;
  const moves = async (): Promise<boolean> => {
    await server.kubectl('annotate', 'service', 'foreign', `edit=${++edits}`, '--overwrite'); // history goes on without us
    return versionsAsked('services').length >= before.length + 3;
  };
  await until('three more watches', moves, 60_000);
  const asked = versionsAsked('services').slice(before.length);
  const last = before.at(-1) ?? 0;
  t.ok(
    asked.every((version, index) => version > (asked[index - 1] ?? last)),
    `each from further on: ${last}, ${asked.join(', ')}`,
  );
  t.equal(sink.batches.length, length, 'nothing changed');
  t.equal(lists('services'), listed);
});

t.test('S-1: the rights of deploy/rbac.yaml are enough, and no more than is needed', async (t) => {
  const requests = server.agentRequests();
  t.ok(requests.length >= 6); // a first one of each kind, and the three more watches above; others depend on timing
  // A server that has just started refuses every request for a moment, until it has read who may do what: the same
  // request must then have been granted later.
  const refused = requests.filter(({ code, verb, resource }, index) => {
    const later = requests.slice(index + 1);
    const granted = later.some(
      (next) => next.code === 200 && next.verb === verb && next.resource === resource,
    );
    return (code === 403 || code === 401) && !granted;
  });
  t.same(refused, []);
  t.same([...new Set(requests.map(({ resource }) => resource))].sort(), [
    'endpointslices',
    'nodes',
    'services',
  ]);
  const token = await server.agentToken();
  const may = async (...what: string[]): Promise<boolean> =>
    server.kubectlAs(token, 'auth', 'can-i', ...what, '--quiet').then(
      () => true,
      () => false,
    );
  t.ok(await may('create', 'events.events.k8s.io'));
  for (const what of [
    'list secrets',
    'watch servicecidrs.networking.k8s.io',
    'create events',
    'patch events.events.k8s.io',
    'get configmaps',
    'update pods',
    'update services',
    'patch nodes',
    'create pods',
  ]) {
    t.notOk(await may(...what.split(' '), '--all-namespaces'), what);
  }
});

t.test('socket settings of Pods and Namespaces arrive, of pods on this node alone', async (t) => {
  const told = new RecordingSink();
  const withPods = new KubeSource({ kubeconfig, nodeName: 'me', pods: true });
  t.teardown(() => withPods.stop());
  const pod = (name: string, nodeName: string): string => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, labels: { sluice.dev/socket-hooks: 'false' } }
spec: { nodeName: ${nodeName}, containers: [{ name: c, image: none }] }`;
  await server.apply(`${pod('here', 'me')}\n---\n${pod('there', 'other')}`);
  await withPods.start(told);
  await until('synced', () => told.syncs === 1);
  t.match(told.objects.get('Pod/default/here'), { socketHooks: false, mesh: undefined, nodeName: undefined });
  t.notOk(told.objects.has('Pod/default/there'));
  t.match(told.objects.get('Namespace//default'), { socketHooks: undefined });
  await server.kubectl('label', 'namespace', 'default', 'sluice.dev/socket-hooks=false');
  const socketHooks = (key: string): boolean | undefined => {
    const object = told.objects.get(key);
    return object?.kind === 'Namespace' || object?.kind === 'Pod' ? object.socketHooks : undefined;
  };
  await until('the label', () => socketHooks('Namespace//default') === false);
  await server.kubectl('annotate', 'pod', 'here', 'sluice.dev/socket-hooks=true');
  await until('the annotation', () => socketHooks('Pod/default/here') === true);
  await server.kubectl('delete', 'pod', 'here', '--force', '--grace-period=0');
  await until('the deletion', () => !told.objects.has('Pod/default/here'));
});

t.test('an API server that restarts: no object is deleted, none is sent twice', async (t) => {
  const story = sink.story.length;
  await server.killServer();
  await until('it is noticed', () => sink.problemList.length === 3);
  t.match(sink.problemList[0]?.message, /ECONN|socket|aborted/);
  await server.startServer();
  await until('all is well', () => sink.problemList.length === 0, 60_000);
  await server.apply(service('after'));
  await until('the next change', () => has('Service/default/after'));
  t.same(sink.story.slice(story), ['put Service/default/after']);
});

t.test('410 after compaction: deleted objects are removed, the others are not touched', async (t) => {
  await server.apply(
    `${service('goes')}\n---\n${service('stays')}\n---\n${slice('stays-1', 'stays', ['10.1.0.9'])}`,
  );
  await until(
    'all of it',
    () => has('Service/default/goes') && has('EndpointSlice/default/stays-1') && has('Service/default/stays'),
  );
  const story = sink.story.length;
  const before = lists('services');
  await server.killServer();
  await server.etcd('deleterange', {
    key: Buffer.from('/registry/services/specs/default/goes').toString('base64'),
  });
  const { header } = await server.etcd('put', {
    key: Buffer.from('/elsewhere').toString('base64'),
    value: '',
  });
  await server.etcd('compaction', { revision: (header as { revision: string }).revision, physical: true });
  await server.startServer();
  await until('the deletion', () => !has('Service/default/goes'), 60_000);
  await until('all is well', () => sink.problemList.length === 0, 60_000);
  t.same(sink.story.slice(story), ['del Service/default/goes']);
  t.ok(lists('services') - before <= 2, `${lists('services') - before} lists`);
  t.equal(sink.syncs, 1);
});

t.test('the API server accepts the manifests in deploy/', async (t) => {
  const accepted = await server.kubectl('apply', '--dry-run=server', '-k', deploy);
  t.match(accepted, /daemonset\.apps\/sluice created/);
  const without = path.join(deploy, '../examples/socket-hooks-off');
  const smaller = await server.kubectl('apply', '--dry-run=server', '-k', without);
  t.match(smaller, /daemonset\.apps\/sluice created/);
  t.match(accepted, /clusterrole\S+sluice-socket-hooks/);
  t.notMatch(smaller, /sluice-socket-hooks/);
});

t.test('few requests in all, and lists only at the start and after restarts', async (t) => {
  // Two at the start of each of the two sources and after each of the two restarts, where etcd is too old to begin
  // with a watch: each beginning is tried by watch first.
  for (const resource of ['services', 'endpointslices', 'nodes']) {
    t.ok(lists(resource) <= 8, `${resource}: ${lists(resource)} lists`);
  }
  const requests = server.agentRequests().length;
  t.ok(requests < 150, `${requests} requests`);
});
