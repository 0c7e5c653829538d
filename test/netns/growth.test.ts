// Tables start small and grow with the cluster, while connections are open (S-103).
//
//   node ─┬─ pod a      serves
//         ├─ pod dora   dials
//         └─ eth0 ── outside
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { native } from '../../native/index.ts';
import type { Status } from '../../src/api/bodies.ts';
import { sluice } from '../support/lab/agent.ts';
import { echoService, serveEcho, servicePort } from '../support/lab/echo.ts';
import { serviceDocument, sliceDocuments, type SliceEndpoint } from '../support/kube/manifests.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(400_000);
const { node, folder, pods, offer, startAgent } = await oneNode(t);
const [a, dora] = await pods('a', 'dora');
await serveEcho([a]);
const web = echoService('web', 10);
offer(web, [a]);

const ports = [{ name: 'http', protocol: 'TCP', port: 80 }] as const;
/** Services that have addresses of their own and endpoints that answer to none. */
function crowdOf(from: number, to: number, endpoints: number): object[] {
  return Array.from({ length: to - from }, (_, i) => from + i).flatMap((i) => {
    const name = `crowd-${String(i)}`;
    const last = `${String(i >> 8)}.${String(i & 255)}`;
    const list = Array.from({ length: endpoints }, (_, j): SliceEndpoint => ({
      address: `10.${String(100 + j)}.${last}`,
    }));
    const service = serviceDocument({ name, clusterIPs: [`10.97.${last}`], ports });
    return [service, ...sliceDocuments({ service: name, endpoints: list, ports })];
  });
}

let agent = await startAgent();

interface ShownMap {
  readonly name: string;
  readonly max_entries: number;
  readonly bytes_memlock: number;
}

/** The maps that are in force, as the kernel tells of them. */
async function pinned(): Promise<ReadonlyMap<string, ShownMap>> {
  const folders = readdirSync(node.bpffs).filter((name) => name.startsWith('maps'));
  t.equal(folders.length, 1, 'one folder of maps');
  const found = new Map<string, ShownMap>();
  for (const name of readdirSync(join(node.bpffs, folders[0]!))) {
    const { stdout } = await node.netns.run([
      ...['bpftool', '-j', 'map', 'show', 'pinned', join(node.bpffs, folders[0]!, name)],
    ]);
    found.set(name, JSON.parse(stdout) as ShownMap);
  }
  return found;
}

const ofCluster = [
  'slb_frontends',
  'slb_services',
  'slb_svc_stats',
  'slb_sets',
  'slb_backends',
  'slb_be_stats',
  'slb_slots',
  'slb_maglev',
  'slb_ranges',
] as const;

async function bytesOfCluster(): Promise<number> {
  const maps = await pinned();
  return ofCluster.reduce((sum, name) => sum + (maps.get(name)?.bytes_memlock ?? 0), 0);
}

async function tables(): Promise<Map<string, Status['maps'][number]>> {
  const { maps } = await agent.json<Status>('/v1/status');
  return new Map(maps.map((map) => [map.name, map]));
}

const logged = (name: string): readonly string[] =>
  agent.log.split('\n').filter((line) => line.includes(`"${name}"`));
const grown = (): readonly string[] => logged('tables.grown');

async function programmed(services: number): Promise<void> {
  await agent.until(`${String(services)} Services`, async () => {
    const { status, body } = await agent.get('/v1/status');
    if (status !== 200) return undefined; // it reads thousands of documents, and then loads programs
    const { services: present, missing } = JSON.parse(body) as Status;
    return present === services && missing.length === 0 ? true : undefined;
  });
}

/**
 * How often the API answers while programs are being loaded over larger tables, up to so many times; each is asked
 * after the other.
 */
async function answersWhileGrowing(enough: number): Promise<number> {
  const isGrowing = (): boolean => logged('tables.growing').length > logged('tables.grown').length;
  await agent.until('tables to grow', () => Promise.resolve(isGrowing() || undefined));
  let answers = 0;
  while (answers < enough) {
    const { status, body } = await agent.get('/readyz');
    if (!isGrowing()) return answers;
    if (status === 503 && body.includes('larger tables')) answers++;
  }
  return answers;
}

async function connectionsOf(name: string): Promise<number> {
  const service = await agent.service(name);
  return (service?.ports ?? []).reduce((sum, { counters }) => sum + counters.connections, 0);
}

t.test(
  'with ten Services the tables of the cluster cost 2 MiB at most, besides per-CPU counters',
  async (t) => {
    folder.put('ten.yaml', crowdOf(0, 9, 10));
    await programmed(10);
    const bytes = await bytesOfCluster();
    t.ok(bytes < 2 * 2 ** 20 + native().possibleCpus() * 2 ** 18, `${String(bytes)} bytes`);
    t.same(grown(), []);
    const backends = (await tables()).get('slb_backends');
    t.match(backends, { bound: 524_287 });
    t.ok(backends!.size < 4_096, `${String(backends!.size)} rows`);
  },
);

t.test('tables grow while connections are open: none is lost, no packet is dropped (S-103)', async (t) => {
  const held = await dora.actor.call('open', { host: web.v4, port: servicePort });
  const before = await connectionsOf('web');
  await dora.actor.call('startLoad', { host: web.v4, port: servicePort, steady: 10, short: 4 });
  folder.put('crowd.yaml', crowdOf(9, 3_000, 4));
  t.equal(await answersWhileGrowing(5), 5, 'the API answers meanwhile, that it is not ready');
  await programmed(3_001);
  const [first, ...later] = grown();
  t.match(first, /"map":"slb_backends","from":2048,"to":\d+/);
  t.ok(later.length < 4, `${String(later.length + 1)} times`);
  const { errors, opened } = await dora.actor.call('stopLoad');
  t.same(errors, {});
  t.equal(await dora.actor.call('ask', { id: held.id, text: 'still there' }), 'still there');
  t.equal((await connectionsOf('web')) - before, opened, 'every connection is counted once');
  const maps = await pinned();
  t.ok(maps.get('slb_services')!.max_entries >= 4_096);
  t.equal((await agent.get('/readyz')).status, 200);
  const { size, used } = (await tables()).get('slb_backends')!;
  t.ok(used > 11_900 && size >= used, `${String(used)} of ${String(size)}`);
  t.match((await agent.get('/metrics')).body, /sluice_map_bound\{map="slb_backends"\} 524287/);
});

t.test('the next agent adopts the grown tables; connections go on', async (t) => {
  const held = await dora.actor.call('open', { host: web.v6, port: servicePort });
  const before = [...(await pinned())].map(([name, { max_entries }]) => [name, max_entries]);
  await agent.kill();
  agent = await startAgent();
  await programmed(3_001);
  t.same(grown(), []);
  t.notMatch(agent.log, /datapath\.(replaced|lost)/);
  t.same(
    [...(await pinned())].map(([name, { max_entries }]) => [name, max_entries]),
    before,
  );
  t.equal(await dora.actor.call('ask', { id: held.id, text: 'on' }), 'on');
});

t.test(
  'an agent stopped while tables grow stops normally, and the next one lets them grow (S-104)',
  async (t) => {
    await agent.stop();
    const { code } = await sluice(node, 'clean', '--bpffs', node.bpffs);
    t.equal(code, 0);
    folder.remove('crowd.yaml');
    agent = await startAgent();
    await programmed(10);
    const held = await dora.actor.call('open', { host: web.v4, port: servicePort });
    folder.put('crowd.yaml', crowdOf(9, 3_000, 4));
    await agent.until('tables to grow', () =>
      Promise.resolve(logged('tables.growing').length > 0 || undefined),
    );
    await agent.stop();
    t.same(grown(), []);
    t.notMatch(agent.log, /agent\.fault|tables\.refused|sync\.failed/);
    t.match(agent.log, /"agent.stopping"/);
    t.equal((await pinned()).get('slb_services')!.max_entries, 512, 'the tables are as they were');
    t.equal(await dora.actor.call('ask', { id: held.id, text: 'on' }), 'on');
    agent = await startAgent();
    await programmed(3_001);
    t.ok(grown().length > 0);
    t.equal(await dora.actor.call('ask', { id: held.id, text: 'still' }), 'still');
  },
);

t.test('only at the limit there is a shortage, and it is reported', async (t) => {
  await agent.stop();
  const { code } = await sluice(node, 'clean', '--bpffs', node.bpffs);
  t.equal(code, 0);
  folder.remove('crowd.yaml');
  agent = await startAgent({ flags: ['--max-services', '64', '--max-backends', '256'] });
  folder.put('crowd.yaml', crowdOf(9, 100, 1));
  const status = await agent.until('a shortage', async () => {
    const now = await agent.json<Status>('/v1/status');
    return now.unprogrammed.length > 0 ? now : undefined;
  });
  t.match(status.missing[0], /slb_services is full: raise --max-services/);
  t.match(status.warnings, [/slb_services is \d+ % full/]);
});
