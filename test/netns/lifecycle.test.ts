// Open connections while endpoints, Services, devices and the agent itself come and go:
//
//   client ─ eth0 ───── router ───── eth0 ── node ──┬── cni0 ─┬─ a     backends of the service
//   172.20.1.2                        sluice, tc    │         └─ b
//                                                   └── ptp ──┬─ c
//                                                             └─ late  a pod that comes and goes
import { existsSync } from 'node:fs';
import t from 'tap';
import type { FlowPage, ServiceDetail, Status } from '../../src/api/bodies.ts';
import { placeFlags, sluice } from '../support/lab/agent.ts';
import {
  bothAddresses,
  dropped,
  echoPort,
  echoService,
  faults,
  noFaults,
  seenAsNode,
  serveEcho,
  servicePort,
  verdicts,
} from '../support/lab/echo.ts';
import { type Machine, families, type FamilyKey } from '../support/lab/lab.ts';
import { serviceDocument, sliceDocuments } from '../support/kube/manifests.ts';
import { oneNode } from '../support/lab/onenode.ts';

t.setTimeout(180_000);
const { node, folder, offer, startAgent, outside } = await oneNode(t, 'client');
const [client] = outside;
const backends = [await node.pod('a'), await node.pod('b'), await node.pod('c', 'ptp')];
const names = backends.map(({ name }) => name);
await serveEcho(backends);

const web = echoService('web', 10);
offer(web, backends);
let agent = await startAgent();

const where = (family: FamilyKey) => ({ host: web[family], port: servicePort });
const without = (name: string): Machine[] => backends.filter((machine) => machine.name !== name);

const detail = (): Promise<ServiceDetail> => agent.json<ServiceDetail>('/v1/services/lab/web');

/** Changes the endpoints and waits until the agent has every port of the service at that many backends. */
async function offerNow(machines: readonly Machine[]): Promise<void> {
  offer(web, machines);
  await agent.until(`${String(machines.length)} backends`, async () => {
    const { ports } = await detail();
    return ports.every((port) => port.backends === machines.length) ? true : undefined;
  });
}

for (const family of families) {
  t.test(`a TCP connection outlives its endpoint, new ones go to others, IP${family} (S-89)`, async (t) => {
    const kept = await client.actor.call('open', where(family));
    await offerNow(without(kept.server));
    t.equal(await client.actor.call('ask', { id: kept.id, text: 'hello' }), 'hello', 'it drains');
    const tally = await client.actor.call('crowd', { ...where(family), connections: 60 });
    t.strictSame(faults(tally), seenAsNode(60));
    t.strictSame(
      Object.keys(tally.servers).sort(),
      names.filter((name) => name !== kept.server),
    );
    await offerNow(backends);
    t.equal(await client.actor.call('ask', { id: kept.id, text: 'again' }), 'again');
    await client.actor.call('shut', { id: kept.id });
  });

  t.test(`a UDP client moves when its endpoint is gone, IP${family} (S-90)`, async (t) => {
    const { id } = await client.actor.call('openUdp', where(family));
    const first = await client.actor.call('askUdp', { id, text: '1' });
    t.equal(
      (await client.actor.call('askUdp', { id, text: '2' })).server,
      first.server,
      'it stays while it can',
    );
    await offerNow(without(first.server));
    const second = await client.actor.call('askUdp', { id, text: '3' });
    t.not(second.server, first.server, 'the same socket reaches another');
    await offerNow(backends);
    t.equal((await client.actor.call('askUdp', { id, text: '4' })).server, second.server, 'and stays there');
    await client.actor.call('shutUdp', { id });
  });

  t.test(`scaled to zero it refuses, scaled up it answers, IP${family} (S-43, S-90)`, async (t) => {
    const { id } = await client.actor.call('openUdp', where(family));
    await client.actor.call('askUdp', { id, text: '1' });
    await offerNow([]);
    const none = await client.actor.call('crowd', { ...where(family), connections: 5 });
    t.strictSame(none.errors, { ECONNREFUSED: 5 });
    const fresh = await client.actor.call('openUdp', where(family));
    await t.rejects(
      client.actor.call('askUdp', { id: fresh.id, text: '1' }),
      { code: 'ECONNREFUSED' },
      'a new UDP client too; one that has a backend keeps it while there is nothing better',
    );
    await offerNow(backends);
    const tally = await client.actor.call('crowd', { ...where(family), connections: 30 });
    t.strictSame(faults(tally), seenAsNode(30));
    for (const socket of [id, fresh.id]) {
      t.equal((await client.actor.call('askUdp', { id: socket, text: '2' })).payload, '2');
      await client.actor.call('shutUdp', { id: socket });
    }
  });
}

t.test('a broken manifest is reported and changes nothing', async (t) => {
  folder.putText('broken.yaml', 'kind: Service\nmetadata: [not, a, map\n');
  const problem = await agent.until('the problem', async () => {
    const { source } = await agent.json<Status>('/v1/status');
    return source.problems[0];
  });
  t.match(problem.where, /broken\.yaml:\d+/);
  t.strictSame(faults(await client.actor.call('crowd', { ...where('v4'), connections: 10 })), seenAsNode(10));
  folder.remove('broken.yaml');
  await agent.until('no problem', async () => {
    const { source } = await agent.json<Status>('/v1/status');
    return source.problems.length === 0 ? true : undefined;
  });
});

t.test('a new pod reaches the Services at once, and may be deleted', async (t) => {
  const late = await node.pod('late', 'ptp');
  await agent.until('its device', async () => {
    const { devices } = await agent.json<Status>('/v1/status');
    return devices.some(({ name }) => name === 'v-late') ? true : undefined;
  });
  for (const family of families) {
    const tally = await late.actor.call('crowd', { ...where(family), connections: 30 });
    t.strictSame(faults(tally), noFaults, `IP${family}`);
  }
  await late.actor.close();
  await late.netns.close();
  await agent.until('the device gone', async () => {
    const { devices } = await agent.json<Status>('/v1/status');
    return devices.every(({ name }) => name !== 'v-late') ? true : undefined;
  });
});

interface Identity {
  readonly services: number[];
  readonly backends: number[];
}

async function identity(): Promise<Identity> {
  const { ports, backends: rows } = await detail();
  return { services: ports.map(({ id }) => id), backends: rows.map(({ id }) => id) };
}

async function connectionPorts(): Promise<number[]> {
  const ports: number[] = [];
  let cursor = '';
  for (;;) {
    const page = await agent.json<FlowPage>(`/v1/flows?client=${client.v4}&limit=1000${cursor}`);
    ports.push(...page.flows.map((flow) => flow.client.port));
    if (page.cursor === undefined) return ports;
    cursor = `&cursor=${encodeURIComponent(page.cursor)}`;
  }
}

t.test('killed under load and started again, the agent loses no connection (S-103, S-104)', async (t) => {
  const before = await identity();
  const held = await client.actor.call('open', where('v4'));
  const localPort = Number(held.local.split(' ')[1]);
  t.ok((await connectionPorts()).includes(localPort));
  await client.actor.call('startLoad', { ...where('v4'), steady: 20, short: 5 });
  await agent.kill();
  const alone = await client.actor.call('crowd', { ...where('v6'), connections: 100 });
  t.strictSame(faults(alone), seenAsNode(100), 'the kernel forwards alone');
  agent = await startAgent();
  const tally = await client.actor.call('crowd', { ...where('v6'), connections: 100 });
  t.strictSame(faults(tally), seenAsNode(100), 'the new agent adopts');
  const { echoes, opened, errors } = await client.actor.call('stopLoad');
  t.strictSame(errors, {}, `${String(opened)} connections, ${String(echoes)} echoes`);
  t.ok(opened > 30 && echoes > 100, 'there was a load');
  t.equal(await client.actor.call('ask', { id: held.id, text: 'still' }), 'still');
  t.ok((await connectionPorts()).includes(localPort), 'its flow is still there');
  t.strictSame(await identity(), before, 'ids are kept');
  await client.actor.call('shut', { id: held.id });
});

t.test('changes made while no agent ran are applied (S-103)', async (t) => {
  await agent.kill();
  offer(web, without('a'));
  agent = await startAgent();
  const tally = await client.actor.call('crowd', { ...where('v4'), connections: 60 });
  t.strictSame(faults(tally), seenAsNode(60));
  t.strictSame(Object.keys(tally.servers).sort(), ['b', 'c']);
  await offerNow(backends);
});

t.test('a connection outlives its service, a new one is not served (S-45, S-72, S-89)', async (t) => {
  const kept = await client.actor.call('open', where('v4'));
  folder.remove('web.yaml');
  await agent.until('no service', async () => {
    const { status } = await agent.get('/v1/services/lab/web');
    return status === 404 ? true : undefined;
  });
  t.equal(await client.actor.call('ask', { id: kept.id, text: 'orphan' }), 'orphan');
  const { servers } = await client.actor.call('crowd', { ...where('v4'), connections: 3 });
  t.strictSame(servers, {});
  await client.actor.call('shut', { id: kept.id });
  offer(web, backends);
  await agent.until('the service', async () => {
    const { status } = await agent.get('/v1/services/lab/web');
    return status === 200 ? true : undefined;
  });
  await offerNow(backends);
});

t.test('a UDP client that sent before the Service existed is served afterwards (S-90a)', async (t) => {
  // Connection tracking of the stack, so that it too remembers the datagrams that went nowhere.
  const rules = 'add table inet lab; add chain inet lab in { type filter hook prerouting priority 0; }; ';
  await node.netns.run(['nft', `${rules} add rule inet lab in ct state established counter`]);
  const late = { name: 'late', v4: '10.96.0.99', v6: 'fd00:96::99' };
  const clients = [];
  for (const host of [late.v4, late.v6]) clients.push({ host, port: servicePort });
  for (const host of [node.v4, node.v6]) clients.push({ host, port: 30099 });
  const ids = [];
  for (const target of clients) {
    const { id } = await client.actor.call('openUdp', target);
    await t.rejects(client.actor.call('askUdp', { id, text: 'too early', ms: 300 }), target.host);
    ids.push(id);
  }
  const port = { name: 'udp', protocol: 'UDP' as const };
  folder.put('late.yaml', [
    serviceDocument({
      name: 'late',
      type: 'NodePort',
      clusterIPs: [late.v4, late.v6],
      ports: [{ ...port, port: servicePort, nodePort: 30099 }],
    }),
    ...sliceDocuments({
      service: 'late',
      endpoints: bothAddresses(backends),
      ports: [{ ...port, port: echoPort }],
    }),
  ]);
  await agent.until('the service', async () => {
    const { status } = await agent.get('/v1/services/lab/late');
    return status === 200 ? true : undefined;
  });
  for (const id of ids) {
    t.equal((await client.actor.call('askUdp', { id, text: 'now' })).payload, 'now');
    await client.actor.call('shutUdp', { id });
  }
  folder.remove('late.yaml');
});

t.test('no packet was dropped in all this', async (t) => {
  t.strictSame(dropped(await verdicts(agent)), {});
});

t.test('a stopped agent leaves the forwarding; sluice clean leaves nothing (S-104, S-107)', async (t) => {
  await agent.stop();
  const tally = await client.actor.call('crowd', { ...where('v4'), connections: 30 });
  t.strictSame(faults(tally), seenAsNode(30), 'stopped');
  for (const round of ['first', 'second']) {
    const { code, stderr } = await sluice(node, 'clean', ...placeFlags(node));
    t.equal(code, 0, `${round} clean: ${stderr}`);
  }
  t.notOk(existsSync(node.bpffs), 'no pins');
  const filters = await node.netns.run(['bpftool', '-j', 'net', 'show']);
  const [attached] = JSON.parse(filters.stdout) as { xdp: unknown[]; tc: unknown[] }[];
  t.match(attached, { xdp: [], tc: [] }, 'no programs on devices');
  const { servers } = await client.actor.call('crowd', { ...where('v4'), connections: 3 });
  t.strictSame(servers, {}, 'no service');
});
