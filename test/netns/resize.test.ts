// Other --max-* options at a start (S-103): every connection lives on, whether tables become larger or smaller. The
// topology is drawn in test/support/lab/carrylab.ts.
import { getPriority } from 'node:os';
import t, { type Test } from 'tap';
import { CarryLab, fallen, nothingLeft, plenty, type Sizes } from '../support/lab/carrylab.ts';
import { Talks } from '../support/lab/talks.ts';

t.setTimeout(400_000);
const stage = await CarryLab.create(t);
await stage.restart(plenty);
const talks = await Talks.open(stage.dials());

const { client, other, pod } = stage;
/** Clients with affinity, and their backends. */
const sticky = await Promise.all(
  [client, other, pod].map(async (machine) => ({
    machine,
    server: await stage.server(machine, stage.cluster('sticky', 'v4')),
  })),
);
/** Its port is taken towards the only backend, by the address that stands for the client. */
const taken = { ...stage.nodePort('self', 'v4'), localPort: 40_000 };
const first = await client.actor.call('open', taken);

/** Restarts while everything talks, and looks whether all is as it was. */
async function through(t: Test, sizes: Sizes, how: 'stop' | 'kill' = 'stop'): Promise<void> {
  const before = { counts: await stage.counts(), flows: await stage.flows(), maps: stage.pinned().maps };
  talks.begin();
  await client.actor.call('startLoad', { ...stage.nodePort('web', 'v4'), steady: 6, short: 1 });
  await stage.restart(sizes, how);
  const { errors } = await client.actor.call('stopLoad');
  const { exchanges, faults, lost } = await talks.rest();
  t.comment(`${String(exchanges)} exchanges, ${String(lost)} datagrams lost`);
  t.strictSame(faults, [], 'each has its own backend and address, and none has ended');
  t.strictSame(errors, {}, 'nor has any of a load, old or new');
  const counts = await stage.counts();
  t.strictSame(fallen(before.counts.verdicts, counts.verdicts), [], 'verdicts are counted on');
  t.strictSame(fallen(before.counts.services, counts.services), [], 'and so are services and backends');
  const flows = new Set(await stage.flows());
  t.strictSame(
    before.flows.filter((flow) => !flows.has(flow)),
    [],
    `all of ${String(before.flows.length)} flows are there`,
  );
  for (const { machine, server } of sticky)
    t.equal(
      await stage.server(machine, stage.cluster('sticky', 'v4')),
      server,
      `affinity of ${machine.name}`,
    );
  const second = await other.actor.call('open', taken);
  t.not(second.client, first.client, 'a port of this node that is taken is given to no other');
  t.equal(await client.actor.call('ask', { id: first.id, text: 'mine' }), 'mine');
  await other.actor.call('shut', { id: second.id });
  t.equal(getPriority(stage.agent.pid), getPriority(), 'the agent hurries no longer');
  const { folders, maps } = stage.pinned();
  t.equal(folders.length, 1, folders.join());
  await nothingLeft(t, stage.node, before.maps, maps);
}

t.teardown(() => talks.end());

t.test('as it was', (t) => talks.check(t, 'as it was'));

for (const option of Object.keys(plenty) as (keyof Sizes)[]) {
  t.test(`more ${option}`, (t) => through(t, { ...plenty, [option]: plenty[option] * 2 }));
}

const all = (factor: number): Sizes =>
  Object.fromEntries(Object.entries(plenty).map(([name, size]) => [name, size * factor])) as unknown as Sizes;

t.test('everything larger', (t) => through(t, all(4), 'kill'));
t.test('everything smaller', (t) => through(t, all(0.75)));

t.test('smaller than what is in use', async (t) => {
  await through(t, { ...plenty, services: 16, backends: 16, flows: 16, sockets: 16 });
  for (const option of ['--max-services', '--max-backends', '--max-flows'])
    t.match(stage.agent.log, new RegExp(`SLB_E_MAP_IN_USE.*${option}|${option}.*SLB_E_MAP_IN_USE`));
});
