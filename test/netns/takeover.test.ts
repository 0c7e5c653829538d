// Maps of another size than before (S-103): an agent takes over the pinned ones, at whatever step the agent before it
// was killed.
//
//   node ─┬─ eth0 ── outside
//         └─ pod1 ── pod
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { native } from '../../native/index.ts';
import { encode } from '../../src/abi/codec.ts';
import * as abi from '../../src/abi/layout.gen.ts';
import type { MapName } from '../../src/abi/layout.gen.ts';
import { parseAddress } from '../../src/net/ip.ts';
import type { Verbs } from '../support/lab/hooksremote.ts';
import { Netns, veth } from '../support/actors/netns.ts';
import { ownBpffs } from '../support/run/owner.ts';
import { Remote } from '../support/actors/remote.ts';

t.setTimeout(400_000);
const module = new URL('../support/lab/hooksremote.ts', import.meta.url);
const node = await Netns.create('tnode');
const outside = await Netns.create('tout');
for (const device of ['eth0', 'pod1'])
  await veth({ netns: node, device }, { netns: outside, device: `p-${device}` });
await node.ip(['addr add 192.0.2.1/24 dev eth0', 'link set eth0 up', 'link set pod1 up']);
await node.ip(['route add default via 192.0.2.2']);
const bpffs = ownBpffs('takeover');

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const word = (row: number): string => hex(new Uint8Array(Uint32Array.of(row).buffer));
const filled = (layout: { readonly size: number }, byte: number): string =>
  hex(new Uint8Array(layout.size).fill(byte));
const stride = abi.slbStats.size * native().possibleCpus();

interface Row {
  readonly map: MapName;
  readonly key: string;
  readonly value: string;
}

/** Rows that no program looks at here, one of every kind of map. */
function rowsOf(byte: number): readonly Row[] {
  const key4 = encode(abi.slbFlowKey4, { saddr: byte, daddr: 2, sport: 3, dport: 4, proto: 6 });
  const key6 = encode(abi.slbFlowKey6, {
    ...{ saddr: parseAddress(`fd00::${String(byte)}`)!, daddr: parseAddress('fd00::2')! },
    ...{ sport: 3, dport: 4, proto: 17 },
  });
  const client = { client: parseAddress('192.0.2.9')!, service: byte };
  return [
    { map: 'slb_flows4', key: hex(key4), value: filled(abi.slbFlow, byte) },
    { map: 'slb_half6', key: hex(key6), value: filled(abi.slbFlow, byte) },
    {
      map: 'slb_affinity',
      key: hex(encode(abi.slbAffinityKey, client)),
      value: filled(abi.slbAffinity, byte),
    },
    {
      map: 'slb_sockets',
      key: hex(encode(abi.slbSocketKey, { cookie: BigInt(byte), index: 0 })),
      value: filled(abi.slbSocket, byte),
    },
    { map: 'slb_svc_stats', key: word(byte % 32), value: hex(new Uint8Array(stride).fill(byte)) },
    { map: 'slb_services', key: word(byte % 32), value: filled(abi.slbService, byte) },
    { map: 'slb_exempt', key: hex(new Uint8Array(8).fill(byte)), value: word(byte) },
  ];
}

const small = {
  slb_frontends: 64,
  slb_flows4: 64,
  slb_half6: 64,
  slb_services: 32,
  slb_svc_stats: 32,
  slb_sockets: 64,
  slb_affinity: 64,
};
const large = {
  slb_frontends: 128,
  slb_flows4: 256,
  slb_half6: 256,
  slb_services: 64,
  slb_svc_stats: 64,
  slb_sockets: 128,
  slb_affinity: 128,
};
const replaced = Object.keys(small).sort();
const place = { bpffs, patterns: [], xdp: 'generic', tc: 'tcx', tcxOrder: 'first' } as const;

async function missing(agent: Remote<Verbs>, rows: readonly Row[]): Promise<Row[]> {
  const lost: Row[] = [];
  for (const row of rows) if ((await agent.call('getRow', row)) !== row.value) lost.push(row);
  return lost;
}

/** Whose programs stand at the devices: by the agent that loaded them, or the gate's. */
async function programsAt(
  agent: Remote<Verbs>,
  ours: Readonly<Record<string, number>>,
  gates: ReadonlySet<number>,
) {
  const found = new Set<'old' | 'gate' | 'new'>();
  const whose = (id: number) => (gates.has(id) ? 'gate' : Object.values(ours).includes(id) ? 'new' : 'old');
  for (const name of readdirSync(join(bpffs, 'links'))) {
    const [, kind = '', target = ''] = /^(.+)-(\d+)$/.exec(name) ?? [];
    const pin = { kind, target: Number(target) } as Parameters<Verbs['link']>[0]['pin'];
    const link = await agent.call('link', { bpffs, pin });
    if (link !== undefined) found.add(whose(link.program));
  }
  return found;
}

/** Programs named slb_gate… that are loaded now. */
async function gatesLoaded(): Promise<ReadonlySet<number>> {
  const { stdout } = await node.run(['bpftool', '-j', 'prog', 'list']);
  const list = JSON.parse(stdout) as { id: number; name?: string }[];
  return new Set(list.filter(({ name }) => name?.startsWith('slb_gate')).map(({ id }) => id));
}

t.test(
  'an agent killed at any step of the takeover leaves a state that the next one continues from (S-103)',
  async (t) => {
    let agent = await Remote.start<Verbs>(node, module);
    t.teardown(() => agent.kill());
    const next = async (): Promise<void> => {
      await agent.kill();
      agent = await Remote.start<Verbs>(node, module);
    };
    await agent.call('load', { bpffs, sizes: small });
    await agent.call('takeOver');
    await agent.call('attach', place);
    let sizes = [large, small] as const;
    let last: string | undefined = '';
    for (let acts = 0; last !== undefined; acts++) {
      const rows = rowsOf(acts + 1);
      for (const row of rows) await agent.call('putRow', row);
      await next();
      const loaded = await agent.call('load', { bpffs, sizes: sizes[0] });
      t.match(loaded, { adopted: true, losses: [], replaced }, `act ${String(acts)}`);
      last = await agent.call('takeOverUpTo', acts);
      const present = await programsAt(agent, loaded.programs, await gatesLoaded());
      t.notOk(
        present.has('old') && present.has('new'),
        `after "${last ?? 'all'}": ${[...present].join(', ')}`,
      );
      if (last === undefined) t.same([...present], ['new']);
      await next();
      // The next may want other sizes yet, or what there was before.
      if (acts % 2 === 0) sizes = [sizes[1], sizes[0]];
      const after = await agent.call('load', { bpffs, sizes: sizes[1] });
      t.match(after, { adopted: true, losses: [] }, 'the next one adopts');
      t.same(await agent.call('takeOver'), []);
      await agent.call('attach', place);
      t.same(await missing(agent, rows), [], 'every row is there');
      t.same(
        [...(await programsAt(agent, after.programs, new Set()))],
        ['new'],
        'its programs stand everywhere',
      );
      t.equal(
        readdirSync(bpffs).filter((name) => name.startsWith('maps')).length,
        1,
        'no other maps are left',
      );
      t.equal(await agent.call('sizeOf', 'slb_flows4'), sizes[1].slb_flows4);
    }
    await agent.call('clean', bpffs);
  },
);

t.test('a map with more rows in use than its new size is kept (S-103)', async (t) => {
  let agent = await Remote.start<Verbs>(node, module);
  t.teardown(() => agent.kill());
  await agent.call('load', { bpffs, sizes: large });
  const all = Array.from({ length: 40 }, (_, i) => rowsOf(i + 1)).flat();
  for (const row of all) await agent.call('putRow', row);
  await agent.kill();
  agent = await Remote.start<Verbs>(node, module);
  // 40 flows and rows of services 1 … 31; what packets write is given some room.
  const tight = { slb_services: 31, slb_svc_stats: 32, slb_flows4: 49, slb_half6: 50, slb_affinity: 40 };
  const loaded = await agent.call('load', { bpffs, sizes: { ...large, ...tight } });
  t.match(loaded, { adopted: true, losses: [], replaced: ['slb_half6', 'slb_svc_stats'] });
  const kept = (map: string, used: number) => ({
    map,
    code: 'SLB_E_MAP_IN_USE',
    detail: new RegExp(`^${map}: ${String(used)} rows are in use`),
  });
  t.match(
    loaded.oversized.sort((one, other) => (one.map < other.map ? -1 : 1)),
    [kept('slb_affinity', 40), kept('slb_flows4', 40), kept('slb_services', 32)],
  );
  t.same(await agent.call('takeOver'), []);
  t.same(await missing(agent, all.slice(-7)), [], 'every row is there');
  for (const name of ['slb_services', 'slb_flows4', 'slb_affinity'] as const)
    t.equal(await agent.call('sizeOf', name), large[name], name);
  t.equal(await agent.call('sizeOf', 'slb_half6'), 50);
  await agent.call('clean', bpffs);
});

t.test('an unknown pinned map is reported, and replaced by an empty one', async (t) => {
  const agent = await Remote.start<Verbs>(node, module);
  t.teardown(() => agent.kill());
  await node.run(['mkdir', '-p', join(bpffs, 'maps')]);
  const wrong = ['type', 'hash', 'key', '4', 'value', '8', 'entries', '8', 'name', 'slb_services'];
  await node.run(['bpftool', 'map', 'create', join(bpffs, 'maps', 'slb_services'), ...wrong]);
  const { adopted, losses } = await agent.call('load', { bpffs });
  t.equal(adopted, false);
  t.match(losses, [
    {
      map: 'slb_services',
      code: 'SLB_E_MAP_LAYOUT',
      detail: /rows of the pinned map were not copied: their layout is not known/,
    },
  ]);
  t.same(await agent.call('takeOver'), []);
  t.same(readdirSync(bpffs).sort(), ['links', 'maps-1']);
  await agent.call('clean', bpffs);
});
