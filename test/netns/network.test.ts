// The state that the agent builds from netlink messages, compared with a dump; and the cost of a change:
//
//   node ─┬─ eth0 ── outside      uplink: carries the default route
//         └─ …                    devices that come, change and go
import t from 'tap';
import { Netns, veth } from '../support/actors/netns.ts';
import { ownBpffs } from '../support/run/owner.ts';
import { until } from '../support/run/process.ts';
import { Remote } from '../support/actors/remote.ts';
import { addOddLink } from '../support/kernel/oddlinks.ts';
import type { Verbs } from '../support/lab/hooksremote.ts';

t.setTimeout(180_000);
const module = new URL('../support/lab/hooksremote.ts', import.meta.url);
const node = await Netns.create('nnode');
const outside = await Netns.create('nout');
const bpffs = ownBpffs('network');
await veth({ netns: node, device: 'eth0' }, { netns: outside, device: 'eth0' });
await node.ip(['addr add 192.0.2.1/24 dev eth0', 'link set eth0 up', 'route add default via 192.0.2.2']);
const agent = await Remote.start<Verbs>(node, module);
t.teardown(async () => {
  await agent.call('clean', bpffs);
  await agent.kill();
});

const inOrder = (list: readonly { index: number }[]) =>
  JSON.stringify([...list].sort((a, b) => a.index - b.index));

async function agree(): Promise<true | undefined> {
  const { followed, read } = await agent.call('networks');
  const same =
    inOrder(followed.devices) === inOrder(read.devices) &&
    JSON.stringify(followed.addresses) === JSON.stringify(read.addresses) &&
    followed.defaultRoutes.join() === read.defaultRoutes.join();
  return same ? true : undefined;
}

t.test('netlink messages and a dump lead to the same state (S-106, S-113)', async (t) => {
  await agent.call('networks');
  await agent.call('follow');
  const before = await agent.call('asked');
  const other = outside.name;
  const steps: [what: string, lines: string[]][] = [
    ['a cable to a pod', [`link add p0 type veth peer name p0 netns ${other}`]],
    ['a bridge and its port', ['link add br0 type bridge', 'link set p0 master br0', 'link set br0 up']],
    [
      'up, another MTU and address',
      ['link set p0 up', 'link set p0 mtu 1400', 'link set p0 address 02:00:00:00:77:01'],
    ],
    ['another name', ['link set p0 down', 'link set p0 name p9', 'link set p9 up']],
    [
      'another way out',
      [`link add eth1 type veth peer name eth1 netns ${other}`, 'addr add 198.51.100.1/24 dev eth1'],
    ],
    [
      'a cable of which one end moves away',
      ['link add c0 type veth peer name c1', `link set c1 netns ${other}`],
    ],
    ['addresses come and go', ['addr add 192.0.2.9/24 dev eth0', 'addr del 198.51.100.1/24 dev eth1']],
    ['the default route elsewhere', ['link set eth1 up', 'route replace default dev eth1']],
    ['its device goes down', ['link set eth1 down']],
    ['a default route of IPv6', ['route add ::/0 dev eth0 metric 7']],
    ['a default route by its source', ['route add default dev eth0 src 192.0.2.9']],
    ['that address goes', ['addr del 192.0.2.9/24 dev eth0']],
    ['devices go', ['link del br0', 'link del p9', 'link del eth1', 'link del c0']],
  ];
  for (const [what, lines] of steps) {
    await node.ip(lines);
    t.ok(await until(what, agree), what);
  }
  await addOddLink(node, 'odd0', 'TUNNEL6');
  t.ok(await until('a device of another type', agree));
  const { devices } = await agent.call('asked');
  t.ok(devices - before.devices <= 1, 'devices were read anew once, for the cable whose end moved away');
});

t.test('only changes of default routes trigger a read', async (t) => {
  await node.ip(['route replace default via 192.0.2.2 dev eth0']);
  await until('settled', agree);
  await agent.call('changes');
  const { routes } = await agent.call('asked');
  const many = Array.from({ length: 2_000 }, (_, at) => `10.${String(at >> 8)}.${String(at & 255)}.0/24`);
  await node.ip(many.map((range) => `route add ${range} via 192.0.2.2`));
  await node.ip([
    ...many.slice(0, 100).map((range) => `route del ${range}`),
    'route add default dev eth0 table 77',
  ]);
  await node.ip(['link add mark0 type bridge']);
  const seen = await until('the device that came last', async () => {
    const list = await agent.call('changes');
    return list.some(({ links }) => links.length > 0) ? list : undefined;
  });
  t.same(
    seen.filter((change) => change.routes || change.addresses || change.lost),
    [],
  );
  t.ok(await agree());
  t.equal((await agent.call('asked')).routes, routes, 'routes were not read');
  await node.ip(['route del default']);
  t.ok(await until('the default route gone', agree));
  await node.ip(['link del mark0', 'route add default via 192.0.2.2']);
  await agent.call('unfollow');
});

t.test('a new device has its programs before it is up (S-106)', async (t) => {
  await agent.call('load', { bpffs });
  await agent.call('attach', { bpffs, patterns: [], xdp: 'auto', tc: 'tcx', tcxOrder: 'first' });
  await agent.call('watch');
  const before = await agent.call('asked');
  await node.ip([`link add pod0 type veth peer name pod0 netns ${outside.name}`]);
  const state = await until('programs', async () =>
    (await agent.call('states')).find(({ name }) => name === 'pod0'),
  );
  t.match(state, { role: 'pod', tc: 'tcx' });
  const [link] = await node.ipJson<{ operstate: string }[]>('link show dev pod0');
  t.equal(link?.operstate, 'DOWN');
  const { tcx } = await agent.call('asked');
  t.same(await agent.call('asked'), { ...before, tcx }, 'nothing was read for it');
  await node.ip(['link del pod0']);
  await agent.call('unwatch');
});

t.test('a failed pass over all devices is repeated, also while devices appear', async (t) => {
  const asked = agent.call('tasksAfterFailures', 2);
  await node.ip([`link add pod1 type veth peer name pod1 netns ${outside.name}`]);
  const { tasks, told } = await asked;
  t.same([...new Set(tasks)], ['reconcile'], 'and no update takes its place');
  t.same(told, ['no'], 'said once');
  await node.ip(['link del pod1']);
});

t.test('a device whose tcx hook is full is tried with growing intervals', async (t) => {
  await node.ip(['link add br2 type bridge', 'link set br2 up', 'route add default dev br2 metric 8']);
  for (let other = 0; other < 63; other++)
    await agent.call('passer', { device: 'br2', direction: 'ingress', name: `other${String(other)}` });
  await agent.call('setClock', 0);
  const attach = { bpffs, patterns: [], xdp: 'off', tc: 'tcx', tcxOrder: 'first' } as const;
  const states = await agent.call('attach', attach);
  t.match(states.find(({ name }) => name === 'br2')?.tc, /^failed: /);
  const { tcx } = await agent.call('asked');
  await agent.call('update');
  await agent.call('reconcile');
  t.equal((await agent.call('asked')).tcx, tcx);
  await node.ip(['link set br2 mtu 1400']);
  await agent.call('reconcile');
  t.equal((await agent.call('asked')).tcx, tcx + 1, 'it has changed');
  await node.ip(['link del br2']);
});

t.test('a failed attempt is repeated when the device changes, else with growing intervals', async (t) => {
  // No driver of a bridge has XDP of its own.
  await node.ip(['link add br1 type bridge', 'link set br1 up', 'route add default dev br1 metric 9']);
  await agent.call('setClock', 0);
  const options = { bpffs, patterns: [], xdp: 'native', tc: 'tcx', tcxOrder: 'first' } as const;
  const attempts = async (what: () => Promise<unknown>): Promise<number> => {
    const { xdp } = await agent.call('asked');
    await what();
    return (await agent.call('asked')).xdp - xdp;
  };
  await agent.call('attach', options);
  const failing = (await agent.call('states')).find(({ name }) => name === 'br1');
  t.match(failing, { role: 'uplink', tc: 'tcx', xdp: /^off: / });
  t.equal(await attempts(() => agent.call('update')), 0);
  t.equal(await attempts(() => agent.call('reconcile')), 0, 'not at each look at everything');
  await node.ip(['link set br1 mtu 1400']);
  t.equal(await attempts(() => agent.call('reconcile')), 1, 'it has changed');
  await agent.call('setClock', 5_000);
  t.equal(await attempts(() => agent.call('update')), 1, 'after 5 s');
  await agent.call('setClock', 14_999);
  t.equal(await attempts(() => agent.call('update')), 0);
  await agent.call('setClock', 15_000);
  t.equal(await attempts(() => agent.call('update')), 1, 'after 10 s more');
});
