// Processes exempt from the socket hooks, by the cgroups of their pods. Both clients are in the cgroup of the node,
// as are the agent and the backends:
//
//   node.cgroup ─┬─ kubepods ─── burstable ─── podUID                    dora
//                ├─ kubepods.slice ─── kubepods-podUID.slice             later
//                ├─ batch                                                emil, for one test
//                └─ (itself)                                             emil, agent, backends
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { native } from '../../native/index.ts';
import { mapFolders } from '../../src/hooks/paths.ts';
import type { FlowPage, Status } from '../../src/api/bodies.ts';
import { slbExemption } from '../../src/abi/layout.gen.ts';
import { Agent } from '../support/lab/agent.ts';
import {
  bothAddresses,
  echoDocuments,
  echoService,
  faults,
  noFaults,
  serveEcho,
  servicePort,
  verdicts,
} from '../support/lab/echo.ts';
import type { Machine } from '../support/lab/lab.ts';
import { run } from '../support/run/process.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { node, folder, pods, offer, startAgent: start } = await oneNode(t);
const [a, b, dora, emil] = await pods('a', 'b', 'dora', 'emil');
await serveEcho([a, b]);
const web = echoService('web', 10);
offer(web, [a, b]);

const nodeCgroup = node.cgroup ?? '';
const uid = '0f3a52c4-93b1-4c0e-9d6b-2f1f6a1b0c11';
const mark = 'sluice.dev/socket-hooks';

function makeCgroup(...names: readonly string[]): string {
  const path = join(nodeCgroup, ...names);
  mkdirSync(path, { recursive: true });
  return path;
}

async function move({ netns }: Machine, cgroup: string): Promise<void> {
  const { stdout } = await run(['ip', 'netns', 'pids', netns.name]);
  for (const pid of stdout.split('\n').filter((line) => line !== ''))
    writeFileSync(join(cgroup, 'cgroup.procs'), pid);
}

interface Marks {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

function podDocument(name: string, ofUid: string, marks: Marks = {}): object {
  const metadata = { name, namespace: 'lab', uid: ofUid, ...marks };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName: node.name } };
}

function namespaceDocument(name: string, marks: Marks = {}): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, ...marks } };
}

const startAgent = (...flags: readonly string[]): Promise<Agent> =>
  start({ flags: ['--xdp', 'off', ...flags], socketHooks: 'on' });
let agent = await startAgent();

async function exempt(): Promise<Status['exempt']> {
  return (await agent.json<Status>('/v1/status')).exempt;
}

/** Waits until the agent says of exactly these: "reason name cgroups". */
async function untilExempt(...expected: readonly string[]): Promise<void> {
  await agent.until(`exempt: ${expected.join(', ')}`, async () => {
    const found = (await exempt()).map(({ reason, name, cgroups }) => `${reason} ${name} ${String(cgroups)}`);
    return found.sort().join() === [...expected].sort().join() ? true : undefined;
  });
}

/** What the socket hooks did with connections and datagrams of a client, all of which must be answered. */
async function asks(t: Test, { actor, name }: Machine): Promise<{ pointed: number; left: number }> {
  const before = await verdicts(agent, 'sock');
  for (const host of [web.v4, web.v6]) {
    const tcp = await actor.call('crowd', { host, port: servicePort, connections: 10 });
    const udp = await actor.call('datagrams', { host, port: servicePort, sockets: 5, each: 1 });
    t.strictSame([faults(tcp), faults(udp)], [noFaults, noFaults], `${name} to ${host}`);
  }
  const after = await verdicts(agent, 'sock');
  const grown = (verdict: string): number => (after[verdict] ?? 0) - (before[verdict] ?? 0);
  return { pointed: grown('SOCKET_NEW'), left: grown('LEFT_TO_PACKETS') };
}

const pointed = { pointed: 30, left: 0 };
const leftAlone = { pointed: 0, left: 30 };

/** Connections of a client that the packet path has translated. */
async function packetFlows({ v4 }: Machine): Promise<number> {
  const { flows } = await agent.json<FlowPage>(`/v1/flows?limit=1000&client=${v4}`);
  return flows.filter(({ via, protocol }) => via === 'packets' && protocol === 'TCP').length;
}

/** slb_exempt as the kernel has it, with or without an agent: reasons by cgroup id. */
function rows(): Record<string, number> {
  const map = native().openPinnedMap(join(mapFolders(node.bpffs)[0] ?? '', 'slb_exempt'));
  const { keys, values, count } = map.readBatch(undefined, 64);
  map.close();
  const ids = new BigUint64Array(keys.slice().buffer, 0, count);
  const reasons = new Uint32Array(values.slice().buffer, 0, count);
  return Object.fromEntries(Array.from(ids, (id, at) => [String(id), reasons[at] ?? 0]));
}

const rowOf = (cgroup: string, reason: number): Record<string, number> => ({
  [String(native().cgroupId(cgroup))]: reason,
});

const doras = makeCgroup('kubepods', 'burstable', `pod${uid}`);
await move(dora, doras);

t.test('a pod without a setting uses the socket hooks', async (t) => {
  folder.put('pods.yaml', [namespaceDocument('lab'), podDocument('dora', uid)]);
  t.strictSame(await asks(t, dora), pointed);
  t.strictSame([await exempt(), rows(), await packetFlows(dora)], [[], {}, 0]);
});

t.test('a pod that opts out is left to the packet path, alone, and back at run time', async (t) => {
  for (const marks of [{ annotations: { [mark]: 'false' } }, { labels: { [mark]: 'false' } }]) {
    folder.put('pods.yaml', [podDocument('dora', uid, marks)]);
    await untilExempt('pod lab/dora 1');
    t.strictSame(rows(), rowOf(doras, slbExemption.EXEMPT_POD));
    t.strictSame(await asks(t, dora), leftAlone);
    t.ok((await packetFlows(dora)) >= 10, 'its connections are flows of packets');
    t.strictSame(await asks(t, emil), pointed);
    t.equal(await packetFlows(emil), 0);
    folder.put('pods.yaml', [podDocument('dora', uid)]);
    await untilExempt();
    t.strictSame(await asks(t, dora), pointed);
  }
});

t.test('a namespace that opts out, with a pod that opts in', async (t) => {
  const unwanted = namespaceDocument('lab', { labels: { [mark]: 'false' } });
  folder.put('pods.yaml', [unwanted, podDocument('dora', uid)]);
  await untilExempt('namespace lab/dora 1');
  t.strictSame(rows(), rowOf(doras, slbExemption.EXEMPT_NAMESPACE));
  t.strictSame(await asks(t, dora), leftAlone);
  folder.put('pods.yaml', [unwanted, podDocument('dora', uid, { annotations: { [mark]: 'true' } })]);
  await untilExempt();
  t.strictSame(await asks(t, dora), pointed);
});

t.test('a pod of a service mesh is left alone unless it opts in', async (t) => {
  const istio = { 'sidecar.istio.io/status': '{}' };
  folder.put('pods.yaml', [podDocument('dora', uid, { annotations: istio })]);
  await untilExempt('mesh lab/dora 1');
  t.match(await exempt(), [{ mesh: 'istio' }]);
  t.strictSame(rows(), rowOf(doras, slbExemption.EXEMPT_MESH));
  t.strictSame(await asks(t, dora), leftAlone);
  folder.put('pods.yaml', [podDocument('dora', uid, { annotations: { ...istio, [mark]: 'true' } })]);
  await untilExempt();
});

t.test('a cgroup created after its pod is found, also of the systemd driver', async (t) => {
  const later = '7d0c1f0e-0000-4000-8000-00000000beef';
  const unwilling = { annotations: { [mark]: 'false' } };
  folder.put('pods.yaml', [podDocument('later', later, unwilling)]);
  await untilExempt('pod lab/later 0');
  t.strictSame(rows(), {});
  const slice = makeCgroup('kubepods.slice', `kubepods-pod${later.replaceAll('-', '_')}.slice`);
  await untilExempt('pod lab/later 1');
  t.strictSame(rows(), rowOf(slice, slbExemption.EXEMPT_POD));
  t.notMatch(agent.log, /SLB_E_EXEMPT/, 'in time: no event is sent');
  folder.remove('pods.yaml');
  await untilExempt();
});

t.test('exemptions stay without an agent; the next one removes outdated ones', async (t) => {
  folder.put('pods.yaml', [podDocument('dora', uid, { annotations: { [mark]: 'false' } })]);
  await untilExempt('pod lab/dora 1');
  await agent.stop();
  const written = rowOf(doras, slbExemption.EXEMPT_POD);
  t.strictSame(rows(), written);
  agent = await startAgent();
  t.strictSame(rows(), written);
  t.strictSame(await asks(t, dora), leftAlone);
  await agent.stop();
  folder.remove('pods.yaml');
  agent = await startAgent();
  await untilExempt();
  t.strictSame(rows(), {});
  t.strictSame(await asks(t, dora), pointed);
});

t.test('--socket-hooks-skip: a cgroup and all below it; a missing one is reported', async (t) => {
  const batch = makeCgroup('batch', 'night');
  await move(emil, batch);
  await agent.stop();
  agent = await startAgent('--socket-hooks-skip', `batch,${join(nodeCgroup, 'missing')}`);
  await untilExempt('option batch 1', `option ${join(nodeCgroup, 'missing')} 0`);
  t.strictSame(rows(), rowOf(join(nodeCgroup, 'batch'), slbExemption.EXEMPT_OPTION));
  t.strictSame(await asks(t, emil), leftAlone);
  t.strictSame(await asks(t, dora), pointed);
  t.equal(agent.log.match(/"code":"SLB_E_EXEMPT"/g)?.length, 1, 'once');
  const { errors } = await agent.json<Status>('/v1/status');
  t.match(errors, [{ code: 'SLB_E_EXEMPT', message: /--socket-hooks-skip: .*missing/ }]);
  await move(emil, nodeCgroup);
  t.strictSame(await asks(t, emil), pointed);
});

t.test('a Service that opts out, for all its clients, and back at run time', async (t) => {
  const [service, ...slices] = echoDocuments(web, bothAddresses([a, b])) as [
    { metadata: object },
    ...object[],
  ];
  const settled = async (expected: { pointed: number; left: number }): Promise<void> => {
    await agent.until(JSON.stringify(expected), async () => {
      const found = await asks(t, emil);
      return found.pointed === expected.pointed && found.left === expected.left ? true : undefined;
    });
  };
  const metadata = { ...service.metadata, annotations: { [mark]: 'false' } };
  folder.put('web.yaml', [{ ...service, metadata }, ...slices]);
  await settled(leftAlone);
  folder.put('web.yaml', [service, ...slices]);
  await settled(pointed);
  t.pass();
});
