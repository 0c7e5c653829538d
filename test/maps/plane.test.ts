// The data plane over real maps, without programs: writing, adopting, repairing, counting, listing and freeing rows.
import t from 'tap';
import type { BpfMap } from '../../native/index.ts';
import { native } from '../../native/index.ts';
import { encode } from '../../src/abi/codec.ts';
import {
  slbAddressFlags,
  slbBackend,
  slbDevice,
  slbCounter,
  slbFlow,
  slbFlowFlags,
  slbFlowKey4,
  slbFlowKey6,
  slbFrontend,
  slbFrontendKey,
  slbHook,
  slbRangeKey,
  slbRangeKind,
  slbService,
  slbStats,
  slbVerdict,
  slbForward,
  type SlbFlowRow,
} from '../../src/abi/layout.gen.ts';
import { secondsBetween } from '../../src/maps/clock.ts';
import { Dataplane } from '../../src/maps/plane.ts';
import { mapSizes } from '../../src/maps/sizes.ts';
import { sweepGraceSec } from '../../src/maps/sweep.ts';
import { openTables, type OpenMaps } from '../../src/maps/tables.ts';
import { buildServicePorts } from '../../src/model/build.ts';
import { parseAddress } from '../../src/net/ip.ts';
import type { HostFacts } from '../../src/model/types.ts';
import type { ServiceObject } from '../../src/source/objects.ts';
import { listen } from '../../src/observe/channels.ts';
import { printRows } from '../../src/table/print.ts';
import { flowStates } from '../support/kernel/flowstates.ts';
import { closeMaps, createMaps, lifetimes, limits } from '../support/kernel/realmaps.ts';
import { service, slice } from '../support/kube/objects.ts';

const here = { name: 'node-a', zone: '', addresses: ['192.0.2.1'] };
const hz = 100;

/** What the test wants programmed: endpoints by Service. */
type Wanted = Map<string, { object: ServiceObject; endpoints: readonly string[] }>;

function want(list: Readonly<Record<string, readonly [string, ...string[]]>>): Wanted {
  const entries = Object.entries(list).map(
    ([name, [ip, ...endpoints]]) => [`default/${name}`, { object: service(name, [ip]), endpoints }] as const,
  );
  return new Map(entries);
}

function openPlane(maps: OpenMaps, wanted: Wanted, now = () => 0): Promise<Dataplane> {
  const portsOf = (key: string) => {
    const found = wanted.get(key);
    return buildServicePorts(
      found?.object,
      [slice('s', found?.object.meta.name ?? '', found?.endpoints ?? [])],
      here,
    );
  };
  return Dataplane.open({ maps, clock: { hz, now }, lifetimes, portsOf });
}

function positions(maps: OpenMaps): Uint16Array {
  return new Uint16Array(maps['slb_maglev']!.mmap());
}

async function program(plane: Dataplane, keys: Iterable<string>): Promise<void> {
  plane.update(keys);
  await plane.idle();
}

const two = want({ web: ['10.96.0.1', '10.0.0.1', '10.0.0.2'], six: ['fd00::1', 'fd00::11'] });
const twoRows = [
  'frontend 10.96.0.1 address service cluster',
  'frontend 10.96.0.1:80/TCP ClusterIP service=1',
  'frontend [fd00::1]:80/TCP ClusterIP service=2',
  'frontend fd00::1 address service cluster',
  'service 1 cluster=1,2/251 any-endpoint',
  'service 2 cluster=3/251 any-endpoint',
  'backend 1 10.0.0.1:8080/TCP cluster service=1',
  'backend 2 10.0.0.2:8080/TCP cluster service=1',
  'backend 3 [fd00::11]:8080/TCP cluster service=2',
].join('\n');

t.test('Services are written, changed and removed', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const wanted = new Map(two);
  const plane = await openPlane(maps, wanted);
  t.teardown(() => plane.stop());
  t.notOk(plane.synced);
  await program(plane, wanted.keys());
  t.ok(plane.synced);
  t.equal(printRows(await openTables(maps).read()), twoRows);
  t.same(new Set(positions(maps).subarray(0, 251)), new Set([0, 1]));
  t.equal(plane.portById(2)?.port?.name, 'six');

  wanted.delete('default/web');
  await program(plane, ['default/web']);
  t.equal(printRows(await openTables(maps).read()).includes('10.'), false, 'nothing of it is left');
  t.equal(plane.portById(1), undefined);
  t.match(
    plane.fill().find(({ name }) => name === 'slb_backends'),
    { used: 1, size: 255 },
  );
});

t.test('the next agent adopts the rows it finds and removes those of no Service (S-103)', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const first = await openPlane(maps, two);
  await program(first, two.keys());
  first.stop();
  const operations: number[] = [];
  t.teardown(listen('sync.done', (fact) => operations.push(fact.operations)));
  const second = await openPlane(maps, two);
  t.equal(printRows(await openTables(maps).read()), twoRows, 'nothing happens before the first update');
  await program(second, two.keys());
  second.stop();
  t.same(operations, [0], 'nothing to write');
  const third = await openPlane(maps, want({ six: ['fd00::1', 'fd00::11'] }));
  await program(third, ['default/six']);
  third.stop();
  t.equal(
    printRows(await openTables(maps).read()),
    twoRows
      .split('\n')
      .filter((line) => /fd00|service 2/.test(line))
      .join('\n'),
  );
});

t.test('a write that fails is tried again until it succeeds, and nothing is lost (S-105)', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  let failures = 2;
  const failing = new Proxy(maps.slb_services, {
    get: (map, name) => {
      const value: unknown = Reflect.get(map, name, map);
      if (name === 'putBatch' && failures-- > 0)
        throw Object.assign(new Error('bpf_map_update_batch: ENOMEM'), { code: 'ENOMEM' });
      return typeof value === 'function' ? (value.bind(map) as unknown) : value;
    },
  });
  const facts: unknown[] = [];
  t.teardown(
    listen('sync.failed', ({ error, retryMs }) => facts.push([(error as { code: string }).code, retryMs])),
  );
  const plane = await openPlane({ ...maps, slb_services: failing }, two);
  t.teardown(() => plane.stop());
  plane.update(['default/web']);
  await new Promise(setImmediate);
  t.ok(plane.failingSince);
  t.notOk(plane.synced);
  plane.update(['default/six']);
  while (!plane.synced) await new Promise((resolve) => setTimeout(resolve, 10));
  t.same(
    facts,
    [
      ['SLB_E_MAP', 100],
      ['SLB_E_MAP', 200],
    ],
    'later each time',
  );
  t.equal(plane.failingSince, undefined);
  t.equal(printRows(await openTables(maps).read()), twoRows);
});

t.test('a Service that does not fit is reported, and written when there is room', async (t) => {
  const maps = createMaps({ ...mapSizes(limits), slb_backends: 4 });
  t.teardown(() => closeMaps(maps));
  const wanted = want({ a: ['10.96.0.1', '10.0.0.1', '10.0.0.2'], b: ['10.96.0.2', '10.0.0.3', '10.0.0.4'] });
  const plane = await openPlane(maps, wanted);
  t.teardown(() => plane.stop());
  await program(plane, wanted.keys());
  t.same(plane.shortages, [{ service: 'default/b', map: 'slb_backends' }]);
  wanted.delete('default/a');
  await program(plane, ['default/a']);
  t.same(plane.shortages, []);
  t.equal(plane.portsOf('default/b').length, 1);
});

t.test('rows changed by another program are restored (S-106)', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const web = two.get('default/web')!;
  const guarded = { ...web, object: { ...web.object, deniedSourceRanges: ['10.66.0.0/16'] } };
  const plane = await openPlane(maps, new Map([...two, ['default/web', guarded]]));
  t.teardown(() => plane.stop());
  plane.setHost(host);
  await program(plane, two.keys());
  const whole = printRows(await openTables(maps).read());
  t.equal(await plane.repair(), 0, 'all is well');
  const range = (prefixLen: number, kind: number, id: number, address: string) =>
    encode(slbRangeKey, { prefixLen, kind, service: id, addr: parseAddress(address)! });
  const key = (address: string, port: number, proto = 6) =>
    encode(slbFrontendKey, { addr: parseAddress(address)!, port, proto });
  const slot = (number: number) => new Uint8Array(Uint32Array.of(number).buffer);
  const damages: Readonly<Record<string, () => void>> = {
    'a frontend deleted': () => maps.slb_frontends.delete(key('10.96.0.1', 80)),
    'a frontend that is not ours': () => maps.slb_frontends.put(key('10.96.0.77', 80), new Uint8Array(8)),
    'a frontend that leads elsewhere': () =>
      maps.slb_frontends.put(key('10.96.0.1', 80), new Uint8Array(8).fill(3)),
    'a service row': () => maps.slb_services.put(slot(1), new Uint8Array(slbService.size)),
    'a backend row': () => maps.slb_backends.put(slot(2), new Uint8Array(slbBackend.size)),
    'a set row': () => maps.slb_sets.put(slot(1), new Uint8Array(16)),
    'a slot': () => maps.slb_slots.put(slot(1), slot(99)),
    'a range deleted': () =>
      maps.slb_ranges.delete(range(64 + 96 + 16, slbRangeKind.RANGE_DENY, 1, '10.66.0.0')),
    'a range that admits more clients': () =>
      maps.slb_ranges.put(range(64, slbRangeKind.RANGE_ALLOW, 1, '::'), new Uint8Array(4)),
    'a range of pods deleted': () =>
      maps.slb_ranges.delete(range(64 + 64, slbRangeKind.RANGE_POD, 0, 'fd00:10::')),
    'a device deleted': () => maps.slb_devices.delete(slot(2)),
    'a device that is not there': () => maps.slb_devices.put(slot(9), new Uint8Array(slbDevice.size)),
    'a device that is another': () => maps.slb_devices.put(slot(7), new Uint8Array(slbDevice.size).fill(1)),
    'an address of the node deleted': () => maps.slb_frontends.delete(key('192.0.2.1', 0, 0)),
    'an address that says more than it should': () =>
      maps.slb_frontends.put(
        key('10.96.0.1', 0, 0),
        encode(slbFrontend, { service: 0, kind: 0, flags: slbAddressFlags.ADDR_NODE_PORT }),
      ),
    'a Maglev row': () => maps.slb_maglev.put(slot(25), new Uint8Array(8).fill(77)),
  };
  const table = positions(maps).slice(0, 502);
  for (const [what, damage] of Object.entries(damages)) {
    damage();
    t.equal(await plane.repair(), 1, what);
    t.equal(printRows(await openTables(maps).read()), whole, what);
  }
  t.same(positions(maps).slice(0, 502), table);
});

const host: HostFacts = {
  addresses: [
    { address: '127.0.0.1', nodePort: true, loopback: true },
    { address: '192.0.2.1', nodePort: true, loopback: false },
    { address: '2001:db8::1', nodePort: false, loopback: false },
  ],
  devices: [
    {
      ifindex: 1,
      addr4: undefined,
      addr6: undefined,
      mac: '00:00:00:00:00:00',
      role: 'host',
      netns: -1,
      bridge: 0,
      rpFilter: 0,
      rpFilter6: 0,
      lower: 0,
      vlan: 0,
    }, // as the kernel says of lo
    {
      ifindex: 2,
      addr4: '192.0.2.1',
      addr6: '2001:db8::1',
      mac: '02:00:00:00:0a:01',
      role: 'uplink',
      netns: -1,
      bridge: 0,
      rpFilter: 2,
      rpFilter6: 0,
      lower: 2,
      vlan: 4094,
    },
    {
      ifindex: 7,
      addr4: '255.0.0.1',
      addr6: undefined,
      mac: '02:00:00:00:00:07',
      role: 'pod',
      netns: 3,
      bridge: 6,
      rpFilter: 1,
      rpFilter6: 2,
      lower: 1,
      vlan: 2047,
    },
  ],
  podRanges: ['10.244.0.0/16', 'fd00:10::/64', '0.0.0.0/0'],
};
const hostRows = [
  'frontend 127.0.0.1 address node node-port loopback',
  'frontend 192.0.2.1 address node node-port',
  'frontend 2001:db8::1 address node',
  'range pod 0.0.0.0/0',
  'range pod 10.244.0.0/16',
  'range pod fd00:10::/64',
  'device 1 host',
  'device 2 uplink 192.0.2.1 2001:db8::1 02:00:00:00:0a:01',
  'device 7 pod 255.0.0.1 02:00:00:00:00:07',
].join('\n');

t.test('facts about the host are written at once, and stay without agent and Services (S-113)', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const rows = async () => printRows(await openTables(maps).read());
  const first = await openPlane(maps, two);
  first.setHost(host);
  await first.idle();
  t.notOk(first.synced, 'Services are not known yet (S-102)');
  t.equal(await rows(), hostRows);
  await program(first, two.keys());
  t.ok(first.synced);
  first.stop();
  const withServices = await rows();

  const second = await openPlane(maps, two);
  second.setHost({ ...host, devices: host.devices.slice(0, 2), podRanges: ['10.244.0.0/16'] });
  await second.idle();
  t.match(
    second.fill().filter(({ name }) => ['slb_ranges', 'slb_devices'].includes(name)),
    [
      { name: 'slb_ranges', used: 1 },
      { name: 'slb_devices', used: 2 },
    ],
  );
  const gone = ['range pod 0.0.0.0/0', 'range pod fd00:10::/64', 'device 7 pod 255.0.0.1 02:00:00:00:00:07'];
  const kept = withServices
    .split('\n')
    .filter((line) => !gone.includes(line))
    .join('\n');
  t.equal(await rows(), kept, 'rows of Services wait for the Services');
  second.stop();

  const third = await openPlane(maps, want({}));
  await program(third, []);
  third.stop();
  t.equal(
    await rows(),
    hostRows
      .split('\n')
      .filter((line) => !gone.includes(line))
      .join('\n'),
    'an agent that has not looked yet leaves the host as it is',
  );
});

t.test(
  'source ranges are written to the trie, adopted, and removed with their Service (S-61, S-103)',
  async (t) => {
    const maps = createMaps({ ...mapSizes(limits), slb_ranges: 4 });
    t.teardown(() => closeMaps(maps));
    const ranged = (name: string, ip: string, allow: readonly string[]): Wanted => {
      const object = service(name, [ip], { type: 'LoadBalancer', loadBalancerIPs: ['203.0.113.1'] });
      const deniedSourceRanges = ['10.66.0.0/16'];
      return new Map([
        [
          `default/${name}`,
          { object: { ...object, loadBalancerSourceRanges: allow, deniedSourceRanges }, endpoints: [] },
        ],
      ]);
    };
    const lines = async () =>
      printRows(await openTables(maps).read())
        .split('\n')
        .filter((line) => line.startsWith('range'));
    const wanted = ranged('web', '10.96.0.1', ['10.0.0.0/8', '10.0.0.0/9']);
    const first = await openPlane(maps, wanted);
    await program(first, wanted.keys());
    first.stop();
    const all = [
      'range allow 10.0.0.0/8 service=1',
      'range allow 10.0.0.0/9 service=1',
      'range deny 10.66.0.0/16 service=1',
    ];
    t.same(await lines(), all, 'a range within another is a row of its own');
    const operations: number[] = [];
    t.teardown(listen('sync.done', (fact) => operations.push(fact.operations)));
    const second = await openPlane(maps, wanted);
    await program(second, wanted.keys());
    t.same(operations, [0], 'adopted');
    for (const [key, one] of ranged('more', '10.96.0.2', ['172.16.0.0/12'])) wanted.set(key, one);
    await program(second, ['default/more']);
    t.same(second.shortages, [{ service: 'default/more', map: 'slb_ranges' }], 'not without its ranges');
    t.same(second.portsOf('default/more'), []);
    wanted.delete('default/web');
    await program(second, ['default/web']);
    t.same(second.shortages, []);
    t.same(await lines(), ['range allow 172.16.0.0/12 service=3', 'range deny 10.66.0.0/16 service=3']);
    second.stop();
    const third = await openPlane(maps, want({}));
    await program(third, []);
    third.stop();
    t.same(await lines(), []);
  },
);

t.test('counters are sums over CPUs, and a reused slot starts from 0', async (t) => {
  const maps = createMaps({
    ...mapSizes(limits),
    slb_services: 2,
    slb_svc_stats: 2,
    slb_backends: 2,
    slb_be_stats: 2,
  });
  t.teardown(() => closeMaps(maps));
  const wanted = want({ a: ['10.96.0.1', '10.0.0.1'] });
  const plane = await openPlane(maps, wanted);
  t.teardown(() => plane.stop());
  await program(plane, wanted.keys());
  const cpus = native().possibleCpus();
  const words = slbStats.size / 8;
  const values = BigUint64Array.from({ length: words * cpus }, (_, i) => BigInt(1 + (i % words)));
  const slot = new Uint8Array(Uint32Array.of(1).buffer);
  maps.slb_svc_stats.put(slot, new Uint8Array(values.buffer));
  maps.slb_be_stats.put(slot, new Uint8Array(values.buffer));
  const sum = {
    connections: cpus,
    active: 7 * cpus,
    packetsIn: 2 * cpus,
    bytesIn: 3 * cpus,
    packetsOut: 4 * cpus,
    bytesOut: 5 * cpus,
    refused: 6 * cpus,
  };
  t.same(plane.serviceCounters()(1), sum);
  t.same(plane.backendCounters()(1), sum);

  const row = slbHook.HOOK_TC_OUT * slbVerdict.VERDICT_MAX + slbVerdict.REPLY;
  maps.slb_verdicts.put(
    new Uint8Array(Uint32Array.of(row).buffer),
    new Uint8Array(BigUint64Array.from({ length: cpus }, () => 7n).buffer),
  );
  maps.slb_counters.put(
    new Uint8Array(Uint32Array.of(slbCounter.COUNTER_AFFINITY_NEW).buffer),
    new Uint8Array(BigUint64Array.from({ length: cpus }, () => 3n).buffer),
  );
  t.same(
    plane.packetCounts().filter(({ count }) => count > 0),
    [{ name: 'AFFINITY_NEW', count: 3 * cpus }],
  );
  t.same(
    plane.verdicts().filter(({ packets }) => packets > 0),
    [{ hook: 'tc_out', verdict: 'REPLY', class: 'SEND', packets: 7 * cpus }],
  );

  wanted.clear();
  await program(plane, ['default/a']);
  wanted.set('default/b', { object: service('b', ['10.96.0.1']), endpoints: ['10.0.0.1'] });
  await program(plane, ['default/b']);
  const id = plane.portsOf('default/b')[0]?.row.id ?? 0;
  t.equal(id, 1 + 2 ** 20, 'same slot, next generation');
  t.equal(plane.serviceCounters()(id)?.connections, 0);
  t.equal(plane.backendCounters()(id)?.connections, 0);
});

const tcp = 6;
const udp = 17;

function bytes(text: string): Uint8Array {
  return Uint8Array.of(...text.split('.').map(Number), ...new Array<number>(12).fill(0));
}

function flowRow(more: Partial<SlbFlowRow>): Uint8Array {
  return encode(slbFlow, {
    saddr: bytes('10.0.9.9'),
    daddr: bytes('10.0.0.1'),
    sport: 1000,
    dport: 8080,
    addrDelta: 0,
    portDelta: 0,
    service: 1,
    backend: 1,
    seen: 0,
    flags: 0,
    fin: 0,
    peerFin: 0,
    rst: 0,
    created: 0,
    ifindex: 0,
    forward: 0,
    peerForward: 0,
    dead: 0,
    ack: 0,
    ...more,
  });
}

function flowKey(sport: number, proto = tcp): Uint8Array {
  return encode(slbFlowKey4, { saddr: 0x0a000909, daddr: 0x0a600001, sport, dport: 80, proto });
}

t.test('flows: every connection once, for any page size', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const now = 100_000 * hz;
  const plane = await openPlane(maps, two, () => now);
  const stamps = { seen: now - 3 * hz, created: now - 60 * hz };
  for (let port = 1; port <= 700; port++) {
    const [map, flags]: [BpfMap, number] =
      port % 2 === 0 ? [maps.slb_flows4, slbFlowFlags.FLOW_ASSURED] : [maps.slb_half4, 0];
    const stands = {
      saddr: bytes('192.0.2.1'),
      sport: 61_000 + port,
      flags: flags | slbFlowFlags.FLOW_MASQUERADED,
    };
    map.put(flowKey(port), flowRow({ ...stamps, flags, ...(port % 4 === 0 ? stands : {}) }));
    map.put(flowKey(port, udp), flowRow({ ...stamps, flags: flags | slbFlowFlags.FLOW_REPLY }));
  }
  const six = {
    saddr: parseAddress('fd00::9')!,
    daddr: parseAddress('fd00::1')!,
    sport: 1,
    dport: 53,
    proto: udp,
  };
  const reset = { ...stamps, daddr: parseAddress('fd00::11')!, rst: 1, forward: slbForward.FORWARD_HAIRPIN };
  maps.slb_flows6.put(encode(slbFlowKey6, six), flowRow(reset));
  for (const limit of [7, 100, 5000]) {
    const seen = new Map<string, unknown>();
    let cursor: string | undefined;
    do {
      const page = plane.flows(() => true, limit, cursor);
      t.ok(page.flows.length <= limit);
      for (const flow of page.flows) {
        const key = `${flow.proto} ${flow.client.address} ${flow.client.port}`;
        if (seen.has(key)) t.fail(`${key} twice`);
        seen.set(key, flow);
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    t.equal(seen.size, 701);
    t.match(seen.get('6 10.0.9.9 2'), {
      frontend: { address: '10.96.0.1', port: 80 },
      backend: { address: '10.0.0.1', port: 8080 },
      state: 'established',
      ageSec: 60,
      idleSec: 3,
    });
    t.match(seen.get('6 10.0.9.9 1'), { state: 'half-open', masqueraded: false });
    t.match(seen.get('6 10.0.9.9 4'), {
      masqueraded: true,
      client: { address: '10.0.9.9', port: 4 },
      source: { address: '192.0.2.1', port: 61_004 },
    });
    t.match(seen.get('17 fd00::9 1'), { backend: { address: 'fd00::11' }, state: 'closed', hairpin: true });
  }
  t.same(plane.flows((flow) => flow.client.port === 40, 10).flows.length, 1, 'filtered');
  for (const cursor of [
    '',
    'x',
    '5.0.',
    '0.0.zz',
    '0.0.00',
    `2.0.${'00'.repeat(16)}`,
    `4.0.${'00'.repeat(40)}`,
  ])
    t.throws(() => plane.flows(() => true, 1, cursor), { code: 'SLB_E_API' }, cursor);
});

t.test('flows: expired flows are freed, and none that a packet may still use', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const now = 5 * hz; // jiffies have just wrapped
  const plane = await openPlane(maps, two, () => now);
  for (const [index, { proto, lifeSec, row }] of flowStates.entries()) {
    const stamp = (age: number) => ({ ...row, seen: (now - age * hz) >>> 0 });
    const life = lifetimes[lifeSec];
    maps.slb_flows4.put(flowKey(1 + index, proto), flowRow(stamp(life - 1)));
    maps.slb_flows4.put(flowKey(100 + index, proto), flowRow(stamp(life + sweepGraceSec)));
    maps.slb_flows4.put(flowKey(200 + index, proto), flowRow(stamp(life + sweepGraceSec + 2)));
  }
  maps.slb_flows4.put(flowKey(300), flowRow({ seen: now + hz })); // stamped while the sweep ran
  const dead = (age: number) =>
    flowRow({ dead: 1, flags: slbFlowFlags.FLOW_ASSURED, seen: (now - age * hz) >>> 0 });
  maps.slb_flows4.put(flowKey(301), dead(sweepGraceSec));
  maps.slb_flows4.put(flowKey(302), dead(sweepGraceSec + 1));
  await plane.sweep();
  for (const [index, { what, proto }] of flowStates.entries()) {
    t.ok(maps.slb_flows4.get(flowKey(1 + index, proto)), `${what}: still alive`);
    t.ok(maps.slb_flows4.get(flowKey(100 + index, proto)), `${what}: over, but a program may know the row`);
    t.notOk(maps.slb_flows4.get(flowKey(200 + index, proto)), `${what}: freed`);
  }
  t.ok(maps.slb_flows4.get(flowKey(301)), 'replaced a moment ago: a program may know the row');
  t.notOk(maps.slb_flows4.get(flowKey(302)), 'replaced: freed');
  const entries = 2 * flowStates.length + 2;
  const connections = flowStates.length + 1;
  t.match(plane.flowCounts()[0], { family: 'IPv4', table: 'established', entries, connections });
  t.match(
    plane.fill().find(({ name }) => name === 'slb_flows4'),
    { used: entries },
  );
});

t.test('seconds when jiffies wrap around', async (t) => {
  t.equal(secondsBetween({ hz: 1000 }, 0xffffffff, 1999), 2);
  t.equal(secondsBetween({ hz: 1000 }, 2000, 1000), 0, 'stamped a moment later');
  t.equal(secondsBetween({ hz: 1000 }, 0, 30 * 86_400 * 1000), 30 * 86_400);
});

t.test('a map that was not opened is a coded error', async (t) => {
  const maps = createMaps(mapSizes(limits));
  t.teardown(() => closeMaps(maps));
  const some: OpenMaps = { slb_maglev: maps.slb_maglev };
  t.throws(() => openTables(some), { code: 'SLB_E_MAP' });
});
