// Rows of sockets in real maps, without programs: counted, listed with the flows of packets, and never expired.
import t from 'tap';
import { native } from '../../native/index.ts';
import { encode } from '../../src/abi/codec.ts';
import {
  slbFlow,
  slbFlowKey4,
  slbSocket,
  slbSocketFlags,
  slbSocketKey,
  slbStats,
  type SlbSocketRow,
} from '../../src/abi/layout.gen.ts';
import { readAllCounters, readCounters } from '../../src/maps/counters.ts';
import type { FlowEntry } from '../../src/maps/flowrows.ts';
import { listFlows } from '../../src/maps/flows.ts';
import { Dataplane } from '../../src/maps/plane.ts';
import { parseAddress } from '../../src/net/ip.ts';
import { closeMaps, createMaps, type RealMaps } from '../support/kernel/realmaps.ts';

const tcp = 6;
const udp = 17;
const hz = 100;
const now = 1_000_000 * hz;
const clock = { hz, now: () => now };
const { SOCKET_CONNECTED, SOCKET_ESTABLISHED, SOCKET_RETIRED } = slbSocketFlags;

function openMaps(t: Tap): RealMaps {
  const maps = createMaps({ slb_sockets: 1_024, slb_svc_stats: 4 });
  t.teardown(() => closeMaps(maps));
  return maps;
}
type Tap = { teardown(end: () => unknown): void };

function putSocket(maps: RealMaps, cookie: number, row: Partial<SlbSocketRow>, index = 0): void {
  const whole = {
    frontend: parseAddress('10.96.0.1')!,
    backendAddr: parseAddress('10.0.0.1')!,
    client: new Uint8Array(16),
    frontendPort: 80,
    backendPort: 8080,
    clientPort: 0,
    proto: tcp,
    flags: SOCKET_CONNECTED,
    service: 1,
    backend: 2,
    created: 0,
    seen: 0,
    netns: 1n,
    ...row,
  };
  maps.slb_sockets.put(encode(slbSocketKey, { cookie: BigInt(cookie), index }), encode(slbSocket, whole));
}

t.test('sockets are opened on one CPU and closed on another', (t) => {
  const maps = openMaps(t);
  const { offset } = slbStats.fields.find(({ name }) => name === 'sockets')!;
  const active = (...perCpu: readonly bigint[]): readonly number[] => {
    const values = new BigInt64Array((slbStats.size / 8) * native().possibleCpus());
    for (const [cpu, count] of perCpu.entries()) values[(cpu * slbStats.size + offset) / 8] = count;
    maps.slb_svc_stats.put(new Uint8Array(Uint32Array.of(1).buffer), new Uint8Array(values.buffer));
    return [readCounters(maps.slb_svc_stats, 1), readAllCounters(maps.slb_svc_stats, 4)(1)].map(
      (counters) => counters?.active ?? NaN,
    );
  };
  t.same(active(1_000_005n, -1_000_000n), [5, 5], 'a CPU that closes what others open goes below 0');
  t.same(active(-7n, 7n), [0, 0]);
  t.same(active(3n, -4n), [0, 0], 'opened and closed while the CPUs were read');
  t.end();
});

/** One of every sort, a flow of packets, and a row that has no use any more. */
function fillTables(maps: RealMaps): void {
  const stamps = { created: now - 60 * hz, seen: now - 60 * hz };
  const known = { ...stamps, client: parseAddress('10.0.9.9')!, clientPort: 41_000 };
  const pod = parseAddress('fd00::11')!;
  const established = SOCKET_CONNECTED | SOCKET_ESTABLISHED;
  putSocket(maps, 1, stamps);
  putSocket(maps, 2, { ...known, flags: established });
  putSocket(maps, 3, { ...stamps, proto: udp });
  putSocket(maps, 4, { ...stamps, proto: udp, flags: 0, clientPort: 41_001, seen: now - 3 * hz });
  putSocket(maps, 4, { ...known, proto: udp, flags: 0, frontendPort: 53 }, 1);
  putSocket(maps, 5, {
    ...known,
    ...{ frontend: parseAddress('fd00::1')!, backendAddr: pod, client: pod, flags: established },
  });
  putSocket(maps, 6, { ...known, flags: SOCKET_CONNECTED | SOCKET_RETIRED });
  maps.slb_flows4.put(new Uint8Array(slbFlowKey4.size), new Uint8Array(slbFlow.size));
}

t.test('sockets are listed after flows of packets, with what is known of them', (t) => {
  const maps = openMaps(t);
  fillTables(maps);
  const all: FlowEntry[] = [];
  let cursor: string | undefined;
  do {
    const page = listFlows({ map: (name) => maps[name], clock }, () => true, 2, cursor);
    all.push(...page.flows);
    ({ cursor } = page);
  } while (cursor !== undefined);
  t.same(
    all.map(({ via }) => via),
    ['packets', ...new Array<string>(6).fill('socket')],
  );
  const found = (wanted: (flow: FlowEntry) => boolean): FlowEntry | undefined => all.slice(1).find(wanted);
  const noAddress = { address: '', port: 0 };
  const unknown = {
    client: noAddress,
    source: noAddress,
    hairpin: false,
    masqueraded: false,
    idleSec: undefined,
  };
  const dialled = {
    frontend: { address: '10.96.0.1', port: 80 },
    backend: { address: '10.0.0.1', port: 8080 },
  };
  t.match(
    found(({ proto, state }) => proto === tcp && state === 'half-open'),
    { ...unknown, ...dialled, service: 1, backendId: 2, ageSec: 60 },
  );
  t.match(
    found(({ proto, client }) => proto === tcp && client.address === '10.0.9.9'),
    { state: 'established', client: { port: 41_000 }, idleSec: undefined },
  );
  const ofUdp = (port: number): FlowEntry | undefined =>
    found(({ proto, client, frontend }) => proto === udp && client.port === port && frontend.port === 80);
  t.match(ofUdp(0), { ...unknown, state: 'established' });
  t.match(ofUdp(41_001), { state: 'established', client: { address: '' }, idleSec: 3 });
  t.match(
    found(({ frontend }) => frontend.port === 53),
    { client: { address: '10.0.9.9', port: 41_000 }, idleSec: 60 },
  );
  t.match(
    found(({ backend }) => backend.address === 'fd00::11'),
    { frontend: { address: 'fd00::1' }, hairpin: true },
    'a pod that dials itself',
  );
  t.end();
});

t.test('the sweep counts sockets and exempt cgroups, and expires none', async (t) => {
  const maps = openMaps(t);
  const lifetimes = { tcpSynSec: 1, tcpIdleSec: 1, tcpHalfClosedSec: 1, tcpClosedSec: 1, udpNewSec: 1 };
  const options = { maps, clock, lifetimes: { ...lifetimes, udpIdleSec: 1 }, portsOf: () => [] };
  const plane = await Dataplane.open(options);
  t.teardown(() => plane.stop());
  for (let cookie = 1; cookie <= 700; cookie++) putSocket(maps, cookie, { flags: cookie % 8 });
  maps.slb_exempt.put(new Uint8Array(8).fill(1), new Uint8Array(Uint32Array.of(1).buffer));
  const fill = (name: string) => plane.fill().find((one) => one.name === name);
  t.equal(fill('slb_sockets'), undefined, 'not counted yet');
  await plane.sweep();
  t.same(fill('slb_sockets'), { name: 'slb_sockets', used: 700, size: 1_024, bound: 1_024 });
  t.match(fill('slb_exempt'), { used: 1 });
  maps.slb_sockets.delete(encode(slbSocketKey, { cookie: 1n, index: 0 }));
  await plane.sweep();
  t.match(fill('slb_sockets'), { used: 699 });
});
