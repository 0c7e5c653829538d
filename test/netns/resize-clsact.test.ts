// Maps replaced on kernels without tcx: the gate is in the filters of clsact qdiscs (S-103). The topology is drawn in
// test/support/lab/carrylab.ts.
import t from 'tap';
import type { Status } from '../../src/api/bodies.ts';
import { CarryLab, nothingLeft, plenty } from '../support/lab/carrylab.ts';
import { withoutTcx } from '../support/kernel/notcx.ts';
import { pinAsBefore } from '../support/kernel/oldmaps.ts';
import { Talks } from '../support/lab/talks.ts';

t.setTimeout(200_000);
const stage = await CarryLab.create(t, { flags: ['--xdp', 'off'], env: withoutTcx() });
await stage.restart(plenty);
const talks = await Talks.open(stage.dials());
t.teardown(() => talks.end());

t.test('other sizes, and another layout', async (t) => {
  const { devices } = await stage.agent.json<Status>('/v1/status');
  t.strictSame([...new Set(devices.map(({ tc }) => tc))], ['clsact']);
  await talks.check(t, 'as it was');
  for (const change of ['sizes', 'layout']) {
    const { maps } = stage.pinned();
    const flows = await stage.flows();
    talks.begin();
    if (change === 'layout') {
      await stage.agent.stop();
      await pinAsBefore(stage.node.bpffs);
    }
    await stage.restart({ ...plenty, services: 128, flows: 8192 });
    const { exchanges, faults, lost } = await talks.rest();
    t.comment(`${change}: ${String(exchanges)} exchanges, ${String(lost)} datagrams lost`);
    t.strictSame(faults, [], 'each has its own backend and address, and none has ended');
    const now = new Set(await stage.flows());
    t.strictSame(
      flows.filter((flow) => !now.has(flow)),
      [],
      `all of ${String(flows.length)} flows are there`,
    );
    await nothingLeft(t, stage.node, maps, stage.pinned().maps);
  }
});
