// Programs on devices, in a namespace of their own:
//
//   node ─┬─ eth0 ── outside      uplink: carries the default route
//         ├─ pod1 ── pod          appears and vanishes
//         └─ pod2 ── pod
//
// The hooks room runs in a child process inside the namespace; killing it is what SIGKILL does to an agent.
import t from 'tap';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { LinkPin, PinKind } from '../../src/hooks/paths.ts';
import { Netns, veth } from '../support/actors/netns.ts';
import { ownBpffs } from '../support/run/owner.ts';
import { run, until } from '../support/run/process.ts';
import { Remote } from '../support/actors/remote.ts';
import type { Verbs } from '../support/lab/hooksremote.ts';

t.setTimeout(180_000);
const module = new URL('../support/lab/hooksremote.ts', import.meta.url);

interface World {
  readonly node: Netns;
  readonly outside: Netns;
  readonly bpffs: string;
  agent(): Promise<Remote<Verbs>>;
}

async function makeWorld(): Promise<World> {
  const node = await Netns.create('hnode');
  const outside = await Netns.create('hout');
  await veth({ netns: node, device: 'eth0' }, { netns: outside, device: 'eth0' });
  await node.ip(['addr add 192.0.2.1/24 dev eth0', 'link set eth0 up', 'route add default via 192.0.2.2']);
  return {
    node,
    outside,
    bpffs: ownBpffs('hooks'),
    agent: () => Remote.start<Verbs>(node, module),
  };
}

async function addPod(world: World, name: string): Promise<void> {
  await veth({ netns: world.node, device: name }, { netns: world.outside, device: `p-${name}` });
  await world.node.ip([`link set ${name} up`]);
}

const defaults = (world: World, more: object = {}) =>
  ({
    bpffs: world.bpffs,
    patterns: [] as string[],
    xdp: 'auto',
    tc: 'tcx',
    tcxOrder: 'first',
    ...more,
  }) as const;

const namesOf = (states: readonly { name: string }[]): string[] => states.map(({ name }) => name).sort();

async function pin(agent: Remote<Verbs>, device: string, kind: PinKind): Promise<LinkPin> {
  return { kind, target: await agent.call('indexOf', device) };
}

async function programAt(world: World, agent: Remote<Verbs>, device: string, kind: PinKind) {
  return (await agent.call('link', { bpffs: world.bpffs, pin: await pin(agent, device, kind) }))?.program;
}

t.test('tcx', async (t) => {
  const world = await makeWorld();
  const { bpffs } = world;
  await addPod(world, 'pod1');
  let agent = await world.agent();
  t.teardown(() => agent.kill());

  await t.test('uplink and pod get both programs, loopback the one at egress', async (t) => {
    const first = await agent.call('load', { bpffs });
    t.equal(first.adopted, false);
    t.match(first, { replaced: [], losses: [], folder: join(bpffs, 'maps-1') });
    const states = await agent.call('attach', defaults(world));
    t.match(states, [
      { name: 'lo', role: 'host', tc: 'tcx', xdp: 'off: not an uplink' },
      { name: 'eth0', role: 'uplink', tc: 'tcx', xdp: 'off: no hardware driver' },
      { name: 'pod1', role: 'pod', tc: 'tcx', xdp: 'off: not an uplink' },
    ]);
    for (const device of ['eth0', 'pod1']) {
      t.equal(await programAt(world, agent, device, 'tcx-in'), first.programs.tcIn, device);
      t.equal(await programAt(world, agent, device, 'tcx-out'), first.programs.tcOut, device);
    }
    t.equal(await programAt(world, agent, 'lo', 'tcx-out'), first.programs.tcOut);
    t.equal(await programAt(world, agent, 'lo', 'tcx-in'), undefined);
    t.same(await agent.call('skipped'), []);
  });

  await t.test('loopback accepts injected packets; clean restores its settings', async (t) => {
    const settings = async (): Promise<string[]> => {
      const names = ['accept_local', 'route_localnet'].map((name) => `net.ipv4.conf.lo.${name}`);
      return (await world.node.run(['sysctl', '-n', ...names])).stdout.trim().split('\n');
    };
    await world.node.sysctl({ 'net.ipv4.conf.lo.route_localnet': 1 });
    t.same(await agent.call('prepareLoopback', bpffs), []);
    t.same(await settings(), ['1', '1']);
    t.same(await agent.call('prepareLoopback', bpffs), [], 'the next agent finds them so');
    t.same(
      readdirSync(join(bpffs, 'saved')),
      ['accept_local-0'],
      'what was so before is not ours to put back',
    );
    t.match(await agent.call('restoreLoopback', bpffs), [/accept_local/]);
    t.same(await settings(), ['0', '1']);
    await agent.call('prepareLoopback', bpffs);
  });

  await t.test('devices that appear and disappear (S-106)', async (t) => {
    await agent.call('watch');
    await addPod(world, 'pod2');
    await until('programs on pod2', async () =>
      namesOf(await agent.call('states')).includes('pod2') ? true : undefined,
    );
    const gone = await pin(agent, 'pod2', 'tcx-in');
    await world.node.ip(['link del pod2']);
    await until('pod2 forgotten', async () =>
      namesOf(await agent.call('states')).includes('pod2') ? undefined : true,
    );
    t.notOk(existsSync(join(bpffs, 'links', `tcx-in-${String(gone.target)}`)), 'its pin is gone');
    await agent.call('unwatch');
  });

  await t.test('a device that disappears while programs are attached is no failure (S-106)', async (t) => {
    for (const like of ['pod1', 'eth0']) {
      const { told, names } = await agent.call('updateWithGone', like);
      t.same(told, [], like);
      t.notOk(names.includes('gone0'));
    }
  });

  await t.test('a program detached or unpinned by others is attached again (S-106)', async (t) => {
    const before = await programAt(world, agent, 'pod1', 'tcx-in');
    await agent.call('detach', { bpffs, pin: await pin(agent, 'pod1', 'tcx-in') });
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), undefined);
    await agent.call('reconcile');
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), before);

    rmSync(join(bpffs, 'links', `tcx-out-${String((await pin(agent, 'pod1', 'tcx-out')).target)}`));
    await agent.call('reconcile');
    t.ok(await programAt(world, agent, 'pod1', 'tcx-out'), 'unpinned link');

    rmSync(join(bpffs, 'maps-1', 'slb_backends'));
    t.same(await agent.call('repairPins'), ['slb_backends']);
    t.ok(existsSync(join(bpffs, 'maps-1', 'slb_backends')), 'unpinned map');
  });

  await t.test('a killed agent leaves maps and links, and the next adopts them (S-103, S-104)', async (t) => {
    const linkOf = async (kind: PinKind) =>
      (await agent.call('link', { bpffs, pin: await pin(agent, 'pod1', kind) }))?.id;
    const links = [await linkOf('tcx-in'), await linkOf('tcx-out')];
    const old = await programAt(world, agent, 'pod1', 'tcx-in');
    await agent.kill();
    agent = await world.agent();
    t.same([await linkOf('tcx-in'), await linkOf('tcx-out')], links, 'attached with no agent');

    const second = await agent.call('load', { bpffs, sizes: { slb_flows4: 128 } });
    t.equal(second.adopted, true);
    t.match(second, { replaced: ['slb_flows4'], losses: [], folder: join(bpffs, 'maps-2') });
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), old, 'nothing has changed for packets');
    t.same(await agent.call('takeOver'), []);
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), second.programs.tcIn, 'now it has');
    t.same(readdirSync(bpffs).sort(), ['links', 'maps-2', 'saved'], 'the old maps are gone');
    await agent.call('attach', defaults(world));
    t.same(
      [await linkOf('tcx-in'), await linkOf('tcx-out')],
      links,
      'the same links: replaced without a gap',
    );
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), second.programs.tcIn);
    t.not(second.programs.tcIn, old, 'by the new program');
  });

  await t.test('XDP in each mode, one at a time', async (t) => {
    const modes = async (xdp: 'native' | 'generic' | 'off') => {
      const states = await agent.call('attach', defaults(world, { xdp }));
      const links = readdirSync(join(bpffs, 'links')).filter((name) => name.startsWith('xdp-'));
      return { state: states.find(({ name }) => name === 'eth0')?.xdp, links };
    };
    const index = String((await pin(agent, 'eth0', 'xdp-native')).target);
    t.same(await modes('native'), { state: 'native', links: [`xdp-native-${index}`] });
    t.same(await modes('generic'), { state: 'generic', links: [`xdp-generic-${index}`] });
    t.same(await modes('native'), { state: 'native', links: [`xdp-native-${index}`] });
    t.same(await modes('off'), { state: 'off', links: [] });
    const device = (await agent.call('devices')).find(({ name }) => name === 'eth0');
    t.equal(device?.xdpProgramId, 0, 'nothing left on the device');
  });

  await t.test('patterns: programs are detached from a device no longer selected', async (t) => {
    t.same(namesOf(await agent.call('attach', defaults(world, { patterns: ['!pod*', '!lo'] }))), ['eth0']);
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), undefined);
    t.same(namesOf(await agent.call('attach', defaults(world, { patterns: ['pod?'] }))), ['lo', 'pod1']);
  });

  await t.test('clean removes everything, and can be run again', async (t) => {
    const { removed, restored } = await agent.call('clean', bpffs);
    t.match(restored, ['net.ipv4.conf.lo.accept_local = 0']);
    t.ok(removed.includes(join(bpffs, 'maps-2')));
    t.notOk(existsSync(bpffs));
    t.same(await agent.call('clean', bpffs), { removed: [], restored: [] });
    const { stdout: setting } = await world.node.run(['sysctl', '-n', 'net.ipv4.conf.lo.accept_local']);
    t.equal(setting.trim(), '0');
    for (const device of ['lo', 'eth0', 'pod1']) {
      const { stdout } = await run([
        'nsenter',
        `--net=${world.node.path}`,
        'bpftool',
        'net',
        'show',
        'dev',
        device,
      ]);
      t.notMatch(stdout, /slb_/, `bpftool sees nothing on ${device}`);
    }
  });
});

t.test('clsact, as on kernels before 6.6', async (t) => {
  const world = await makeWorld();
  const { bpffs, node } = world;
  await addPod(world, 'pod1');
  // A qdisc and a filter of another program on the uplink.
  await node.run(['tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact']);
  await node.run([
    'tc',
    'filter',
    'add',
    'dev',
    'eth0',
    'ingress',
    'prio',
    '9',
    'bpf',
    'bytecode',
    '1,6 0 0 0',
  ]);
  const filters = async (device: string, hook: string) =>
    (await node.run(['tc', 'filter', 'show', 'dev', device, hook])).stdout;
  let agent = await world.agent();
  t.teardown(() => agent.kill());

  await t.test('filters on both hooks, replaced and not doubled by the next agent', async (t) => {
    const first = await agent.call('load', { bpffs });
    t.match(await agent.call('attach', defaults(world, { tc: 'clsact' })), [
      { name: 'lo', tc: 'clsact' },
      { tc: 'clsact' },
      { tc: 'clsact' },
    ]);
    t.match(
      await filters('pod1', 'ingress'),
      new RegExp(`handle 0x42 .* id ${String(first.programs.tcIn)} `),
    );
    t.match(await filters('lo', 'egress'), /slb_tc_out/);
    t.equal((await filters('lo', 'ingress')).trim(), '');
    await agent.kill();
    agent = await world.agent();
    const second = await agent.call('load', { bpffs });
    await agent.call('attach', defaults(world, { tc: 'clsact' }));
    const egress = await filters('pod1', 'egress');
    t.match(egress, new RegExp(`id ${String(second.programs.tcOut)} `));
    t.equal(egress.match(/handle 0x42/g)?.length, 1);
  });

  await t.test('a device that disappears meanwhile is no failure here either (S-106)', async (t) => {
    const { told, names } = await agent.call('updateWithGone', 'eth0');
    t.same(told, []);
    t.notOk(names.includes('gone0'));
  });

  await t.test('a flushed qdisc gets its filters again (S-106)', async (t) => {
    await node.run(['tc', 'qdisc', 'del', 'dev', 'pod1', 'clsact']);
    await agent.call('reconcile');
    t.match(await filters('pod1', 'ingress'), /slb_tc_in/);
  });

  await t.test('from clsact to tcx and back: one kind at a time', async (t) => {
    await agent.call('attach', defaults(world, { tc: 'tcx' }));
    t.notMatch(await filters('pod1', 'ingress'), /slb_tc_in/);
    t.ok(await programAt(world, agent, 'pod1', 'tcx-in'));
    await agent.call('attach', defaults(world, { tc: 'clsact' }));
    t.match(await filters('pod1', 'ingress'), /slb_tc_in/);
    t.equal(await programAt(world, agent, 'pod1', 'tcx-in'), undefined);
  });

  await t.test("clean takes our filters and qdiscs, not another's", async (t) => {
    await agent.call('clean', bpffs);
    const qdiscs = async (device: string) => (await node.run(['tc', 'qdisc', 'show', 'dev', device])).stdout;
    t.notMatch(await qdiscs('pod1'), /clsact/);
    t.notMatch(await qdiscs('lo'), /clsact/);
    t.match(await qdiscs('eth0'), /clsact/);
    t.match(await filters('eth0', 'ingress'), /pref 9 bpf/);
    t.notMatch(await filters('eth0', 'ingress'), /slb_/);
    t.notOk(existsSync(bpffs));
  });
});

t.test('the order among programs of others at tcx', async (t) => {
  const world = await makeWorld();
  const { bpffs } = world;
  let agent = await world.agent();
  t.teardown(() => agent.kill());
  const other = await Remote.start<Verbs>(world.node, module);
  t.teardown(() => other.kill());
  const order = () => agent.call('order', { device: 'eth0', direction: 'ingress' });
  const stateOf = (states: readonly { name: string; tc: string }[]) =>
    states.find(({ name }) => name === 'eth0')?.tc;
  await other.call('passer', { device: 'eth0', direction: 'ingress', name: 'passer' });

  await agent.call('load', { bpffs });
  t.equal(stateOf(await agent.call('attach', defaults(world))), 'tcx');
  t.same(await order(), ['slb_tc_in', 'passer'], 'first, whatever came before');
  await agent.call('attach', defaults(world, { patterns: ['none'] }));
  t.same(await order(), ['passer']);

  t.equal(stateOf(await agent.call('attach', defaults(world, { tcxOrder: 'last' }))), 'tcx, behind passer');
  t.same(await order(), ['passer', 'slb_tc_in'], '--tcx-order last');
  await agent.kill();
  agent = await world.agent();
  await agent.call('load', { bpffs });
  t.equal(stateOf(await agent.call('attach', defaults(world))), 'tcx');
  t.same(await order(), ['slb_tc_in', 'passer'], 'a link of an agent that was told otherwise gives way');
  t.same(
    readdirSync(join(bpffs, 'links')).filter((name) => name.startsWith('new-')),
    [],
  );
  await agent.kill();
  agent = await world.agent();
  t.same(await order(), ['slb_tc_in', 'passer'], 'also with no agent');

  await agent.call('load', { bpffs });
  await agent.call('attach', defaults(world));
  await other.call('passer', { device: 'eth0', direction: 'ingress', name: 'pusher', first: true });
  t.equal(stateOf(await agent.call('reconcile')), 'tcx, behind pusher', 'it is said, and not fought about');
  t.same(await agent.call('intruders', 'tcx'), ['eth0: pusher'], 'sluice check says it as well');
  await agent.call('clean', bpffs);
});

t.test('filters of others before ours at clsact are reported', async (t) => {
  const world = await makeWorld();
  const agent = await world.agent();
  t.teardown(() => agent.kill());
  await world.node.run(['tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact']);
  const filter = ['tc', 'filter', 'add', 'dev', 'eth0', 'ingress', 'prio'];
  await world.node.run([...filter, '9', 'bpf', 'bytecode', '1,6 0 0 0']);
  await world.node.run([...filter, '40000', 'bpf', 'bytecode', '1,6 0 0 0']);
  await agent.call('load', { bpffs: world.bpffs });
  const states = await agent.call('attach', defaults(world, { tc: 'clsact' }));
  t.equal(states.find(({ name }) => name === 'eth0')?.tc, 'clsact, behind bpf');
  t.same(await agent.call('intruders', 'clsact'), ['eth0: bpf']);
  await agent.call('clean', world.bpffs);
});

const tools = ['nft', 'iptables-nft', 'iptables-legacy', 'ip6tables-nft'];
const missing = tools.filter((tool) => spawnSync('which', [tool]).status !== 0);
const skip = missing.length > 0 && `not installed: ${missing.join(', ')}`;

t.test('rules of kube-proxy are removed, rules of others stay (S-107)', { skip }, async (t) => {
  const node = await Netns.create('left');
  const agent = await Remote.start<Verbs>(node, module);
  t.teardown(() => agent.kill());
  for (const family of ['ip', 'ip6']) await node.run(['nft', 'add', 'table', family, 'kube-proxy']);
  await node.run(['nft', 'add', 'table', 'inet', 'others']);
  const chains = ['KUBE-SERVICES', 'KUBE-SVC-ABC', 'KUBE-KUBELET-CANARY', 'OTHERS'];
  const comment = ['-m', 'comment', '--comment', 'kubernetes "service" portals'];
  for (const iptables of tools.slice(1)) {
    const rule = (...args: string[]) => node.run([iptables, '-t', 'nat', ...args]);
    for (const chain of chains) await rule('-N', chain);
    await rule('-A', 'PREROUTING', ...comment, '-j', 'KUBE-SERVICES');
    await rule('-A', 'PREROUTING', '-j', 'OTHERS');
    await rule('-A', 'KUBE-SERVICES', '-p', 'tcp', '-j', 'KUBE-SVC-ABC');
  }
  t.same(await agent.call('cleanKubeProxy'), [
    'nftables table ip kube-proxy',
    'nftables table ip6 kube-proxy',
    '2 chains of iptables-nft',
    '2 chains of iptables-legacy',
    '2 chains of ip6tables-nft',
  ]);
  for (const iptables of tools.slice(1)) {
    const { stdout } = await node.run([iptables, '-t', 'nat', '-S']);
    t.notMatch(stdout, /KUBE-SERVICES|KUBE-SVC/, iptables);
    t.match(stdout, /-N KUBE-KUBELET-CANARY\n(?:.*\n)*-A PREROUTING -j OTHERS/, iptables);
  }
  const { stdout: tables } = await node.run(['nft', 'list', 'tables']);
  t.notMatch(tables, /kube-proxy/);
  t.match(tables, /table inet others/);
  t.same(await agent.call('cleanKubeProxy'), [], 'again');
});
