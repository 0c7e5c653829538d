// An upgrade that changes the layout of maps (S-103): connections, affinity and sockets of the old version live on.
// The topology is drawn in test/support/lab/carrylab.ts.
import t from 'tap';
import type { Status } from '../../src/api/bodies.ts';
import { CarryLab, fallen, nothingLeft, plenty } from '../support/lab/carrylab.ts';
import { pinAsBefore } from '../support/kernel/oldmaps.ts';
import { Talks } from '../support/lab/talks.ts';

t.setTimeout(200_000);
const stage = await CarryLab.create(t);
await stage.restart(plenty);
const talks = await Talks.open(stage.dials());
t.teardown(() => talks.end());

/** Stops the agent, and leaves what one of before would have left. */
async function leaveAsBefore(): Promise<string[]> {
  await stage.agent.stop();
  return pinAsBefore(stage.node.bpffs);
}

async function packetCounts(): Promise<Record<string, number>> {
  const { counters } = await stage.agent.json<Status>('/v1/status');
  return Object.fromEntries(counters.map(({ counter, count }) => [counter, count]));
}

t.test('flows and devices of an older layout, in the folder of the first versions', async (t) => {
  await talks.check(t, 'as it was');
  const { client, other, pod } = stage;
  const where = stage.cluster('sticky', 'v4');
  const sticky = [];
  for (const machine of [client, other, pod])
    sticky.push({ machine, server: await stage.server(machine, where) });
  const taken = { ...stage.nodePort('self', 'v4'), localPort: 40_000 };
  const first = await client.actor.call('open', taken);
  await client.actor.call('ask', { id: first.id, text: 'hello' });
  const before = { counts: await stage.counts(), flows: await stage.flows(), packets: await packetCounts() };
  t.ok((before.packets['AFFINITY_NEW'] ?? 0) > 0, 'something has been counted');
  const changed = await leaveAsBefore();
  t.ok(changed.includes('slb_flows4'));
  const { folders, maps } = stage.pinned();
  t.strictSame(folders, ['maps']);

  talks.begin();
  await stage.restart(plenty, 'kill');
  const { exchanges, faults, lost } = await talks.rest();
  t.comment(`${String(exchanges)} exchanges, ${String(lost)} datagrams lost`);
  t.strictSame(faults, [], 'each has its own backend and address, and none has ended');
  t.notMatch(stage.agent.log, /SLB_E_MAP/, 'nothing is left behind');
  t.match(stage.agent.log, /slb_flows4/, 'but taken over');
  const counts = await stage.counts();
  t.strictSame(fallen(before.counts.services, counts.services), [], 'services and backends are counted on');
  t.strictSame(fallen(before.packets, await packetCounts()), [], 'and what happens to packets');
  const flows = new Set(await stage.flows());
  t.strictSame(
    before.flows.filter((flow) => !flows.has(flow)),
    [],
    `all of ${String(before.flows.length)} flows are there`,
  );
  for (const { machine, server } of sticky)
    t.equal(await stage.server(machine, where), server, `affinity of ${machine.name}`);
  const second = await other.actor.call('open', taken);
  t.not(second.client, first.client, 'a port of this node that is taken is given to no other');
  t.equal(await client.actor.call('ask', { id: first.id, text: 'mine' }), 'mine');
  const now = stage.pinned();
  t.strictSame(now.folders, ['maps-1']);
  await nothingLeft(t, stage.node, maps, now.maps);
});

t.test('an agent killed during the conversion leaves it to the next one', async (t) => {
  await leaveAsBefore();
  talks.begin();
  await stage.startAndKill(plenty, 'pinned maps have another size or layout');
  await stage.restart(plenty, 'kill');
  const { faults } = await talks.rest();
  t.strictSame(faults, []);
});
