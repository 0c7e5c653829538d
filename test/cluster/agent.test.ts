// The whole agent in a cluster: objects applied by kubectl to a real API server, packets sent by real sockets.
//
//   kubectl ──► kube-apiserver ──► etcd        on the loopback of the node's namespace
//                    ▲
//                 sluice ── tc ── node ─── cni0 ─┬─ a       backends: TCP and UDP echo on 8080
//                                        bridge  ├─ b, c, d
//                                                └─ dora    a client
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { native } from '../../native/index.ts';
import type { Status } from '../../src/api/bodies.ts';
import { mapFolders } from '../../src/hooks/paths.ts';
import { seedOf } from '../../src/maps/seed.ts';
import { Agent } from '../support/lab/agent.ts';
import { ApiServer } from '../support/kube/apiserver.ts';
import {
  bothAddresses,
  echoDocuments,
  echoService,
  faults,
  noFaults,
  serveEcho,
  servicePort,
} from '../support/lab/echo.ts';
import { Lab, type Machine, families } from '../support/lab/lab.ts';
import { run, until } from '../support/run/process.ts';

t.setTimeout(300_000);
const lab = await Lab.create();
const node = await lab.node('node');
const [a, b, dora] = [await node.pod('a'), await node.pod('b'), await node.pod('dora')];
// Backends of their own for the second service: a client port that has just spoken UDP to a backend through one service
// cannot be used through another one while that flow lives (DROP_COLLISION), and ephemeral ports do repeat.
const [c, d] = [await node.pod('c'), await node.pod('d')];
await serveEcho([a, b, c, d]);
const server = await ApiServer.start({ netns: node.netns });
t.teardown(async () => {
  await server.stop();
  await lab.close();
});
await server.kubectl('create', 'namespace', 'lab');

const web = echoService('web', 10);
const heir = { ...web, name: 'heir' }; // of its addresses
const later = echoService('later', 20);
const kubeconfig = await server.agentKubeconfig();
const startAgent = async (): Promise<Agent> =>
  Agent.start(node, { flags: ['--kubeconfig', kubeconfig, '--xdp', 'off'] });
let agent = await startAgent();
t.teardown(async () => agent.stop());

interface Document {
  readonly kind: string;
  readonly spec?: object;
}

async function apply(service: typeof web, backends: readonly Machine[]): Promise<void> {
  const items = (echoDocuments(service, bothAddresses(backends)) as Document[]).map((document) =>
    document.kind === 'Service'
      ? { ...document, spec: { ...document.spec, ipFamilyPolicy: 'RequireDualStack' } }
      : document,
  );
  await server.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
}

/** Who answers the client, over each family and protocol. */
async function servers(t: Test, service: typeof web): Promise<Record<string, string[]>> {
  const answers: Record<string, string[]> = {};
  for (const family of families) {
    const where = { host: service[family], port: servicePort };
    const tcp = await dora.actor.call('crowd', { ...where, connections: 40 });
    const udp = await dora.actor.call('datagrams', { ...where, sockets: 40, each: 1 });
    t.strictSame([faults(tcp), faults(udp)], [noFaults, noFaults], `${service.name} over ${family}`);
    answers[`tcp ${family}`] = Object.keys(tcp.servers).sort();
    answers[`udp ${family}`] = Object.keys(udp.servers).sort();
  }
  return answers;
}

function always(names: readonly string[]): Record<string, readonly string[]> {
  return { 'tcp v4': names, 'tcp v6': names, 'udp v4': names, 'udp v6': names };
}

/** How many backends the agent has in the kernel for a service's new connections, per port and family. */
async function backends(name: string): Promise<number[] | undefined> {
  const { status, body } = await agent.get(`/v1/services/lab/${name}`);
  if (status !== 200) return undefined;
  return (JSON.parse(body) as { ports: { backends: number }[] }).ports.map((port) => port.backends);
}

async function untilBackends(name: string, count: number): Promise<void> {
  const all = async (): Promise<true | undefined> => {
    const counts = await backends(name);
    return counts?.length === 4 && counts.every((found) => found === count) ? true : undefined;
  };
  await until(`${count} backends of ${name}`, all);
}

/** The rows of the frontend table, as the kernel has them. */
async function frontendRows(): Promise<number> {
  const { stdout } = await run([
    'bpftool',
    '-j',
    'map',
    'dump',
    'pinned',
    `${mapFolders(node.bpffs)[0] ?? ''}/slb_frontends`,
  ]);
  return (JSON.parse(stdout) as unknown[]).length;
}

t.test('what kubectl applies is forwarded: TCP and UDP, both families', async (t) => {
  const before = await frontendRows();
  await apply(web, [a, b]);
  await untilBackends('web', 2);
  t.equal(await frontendRows(), before + 4 + 2, 'a row a port and family, and one an address');
  t.strictSame(await servers(t, web), always(['a', 'b']));
});

t.test(
  'an edit of an EndpointSlice moves new connections; no endpoint is a refusal; new endpoints are used',
  async (t) => {
    await apply(web, [b]);
    await untilBackends('web', 1);
    t.strictSame(await servers(t, web), always(['b']));
    await apply(web, []);
    await untilBackends('web', 0);
    const refused = await dora.actor.call('crowd', { host: web.v4, port: servicePort, connections: 3 });
    t.strictSame(refused.errors, { ECONNREFUSED: 3 });
    await apply(web, [a]);
    await untilBackends('web', 1);
    t.strictSame(await servers(t, web), always(['a']));
  },
);

t.test(
  'a deleted Service leaves nothing in the kernel; a new one with its address takes it over',
  async (t) => {
    const before = await frontendRows();
    await server.kubectl('--namespace=lab', 'delete', 'service,endpointslices', '--all');
    await until('the deletion', async () => ((await backends('web')) === undefined ? true : undefined));
    t.equal(await frontendRows(), before - 6);
    await apply(heir, [b]);
    await untilBackends('heir', 1);
    t.strictSame(await servers(t, heir), always(['b']));
  },
);

t.test(
  'forwarding goes on without the API server; an agent killed meanwhile adopts what it left',
  async (t) => {
    await apply(later, [c, d]);
    await untilBackends('later', 2);
    await server.killServer();
    t.strictSame(await servers(t, later), always(['c', 'd']), 'the server is away');
    const status = await until('the source says so', async () => {
      const found = await agent.json<Status>('/v1/status');
      return found.source.problems.length > 0 ? found : undefined;
    });
    t.match(JSON.stringify(status.source.problems), /ECONN/);
    t.equal((await agent.get('/readyz')).status, 200, 'what was listed is in the kernel');

    await agent.kill();
    t.strictSame(await servers(t, later), always(['c', 'd']), 'the agent is away too');
    const starting = startAgent();
    t.strictSame(await servers(t, later), always(['c', 'd']), 'the next agent starts without an API server');
    await server.startServer();
    agent = await starting;
    t.strictSame(await servers(t, later), always(['c', 'd']), 'it has asked');
    await apply(later, [c]);
    await untilBackends('later', 1);
    t.strictSame(await servers(t, later), always(['c']));
  },
);

interface SeenEvent {
  readonly type: string;
  readonly reason: string;
  readonly note: string;
}

async function eventsOf(namespace: string, kind: string, name: string): Promise<SeenEvent[]> {
  const found = await server.kubectl(
    'get',
    'events.v1.events.k8s.io',
    `--namespace=${namespace}`,
    '--output=json',
  );
  const { items } = JSON.parse(found) as {
    items: (SeenEvent & { regarding: { kind: string; name: string } })[];
  };
  return items.filter(({ regarding }) => regarding.kind === kind && regarding.name === name);
}

t.test(
  'events show with kubectl describe: the start, and a health check port that is taken (S-94, S-109)',
  async (t) => {
    t.match(await eventsOf('default', 'Node', node.name), [{ type: 'Normal', reason: 'Starting' }]);
    const port = 32_101;
    await node.actor.call('serve', { port, name: 'an old resident' });
    const balanced = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'balanced', namespace: 'lab' },
      spec: {
        type: 'LoadBalancer',
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: port,
        ports: [{ name: 'tcp', port: 80 }],
      },
    };
    await server.apply(JSON.stringify(balanced));
    const [event] = await until('the event', async () => {
      const found = await eventsOf('lab', 'Service', 'balanced');
      return found.length > 0 ? found : undefined;
    });
    t.match(event, { type: 'Warning', reason: 'FailedToStartServiceHealthcheck', note: /EADDRINUSE.*32101/ });
    const described = await server.kubectl('--namespace=lab', 'describe', 'service', 'balanced');
    t.match(described, /FailedToStartServiceHealthcheck/, 'it carries the uid of the Service');
    await server.kubectl('--namespace=lab', 'delete', 'service', 'balanced');
  },
);

t.test('S-83: the hash seed is derived from the cluster, and the same on every node', async (t) => {
  const uid = await server.kubectl('get', 'service', 'kubernetes', '--output=jsonpath={.metadata.uid}');
  t.match(uid, /^[0-9a-f-]{36}$/);
  const map = native().openPinnedMap(join(mapFolders(node.bpffs)[0] ?? '', 'slb_seed'));
  t.teardown(() => map.close());
  t.equal(Buffer.from(map.get(new Uint8Array(4)) ?? []).readUInt32LE(), seedOf(uid));
});

t.test('S-1: no request of the agent was forbidden, and few were lists', async (t) => {
  const requests = server.agentRequests();
  const lists = requests.filter(({ verb, query }) => verb === 'list' || query.has('sendInitialEvents'));
  t.ok(lists.length <= 3 * 6, `${lists.length} lists`); // two agents, a restart, an etcd that knows no watch lists
  t.strictSame([...new Set(requests.map(({ resource }) => resource))].sort(), [
    'endpointslices',
    'events',
    'nodes',
    'services',
  ]);
  // A server that has just started refuses everything for a moment, until it has read the roles.
  const what = ({ verb, resource }: (typeof requests)[number]): string => `${verb} ${resource}`;
  const granted = requests.filter(({ code }) => code !== 403).map(what);
  const refused = requests.filter(({ code }) => code === 403).map(what);
  t.strictSame(
    refused.filter((request) => !granted.includes(request)),
    [],
    'nothing was refused for good',
  );
});
