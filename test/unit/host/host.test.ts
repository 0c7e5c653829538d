// What the data path needs to know of this host: roles of devices, addresses of NodePorts, how pods are recognised.
import fc from 'fast-check';
import t from 'tap';
import { slbDevice } from '../../../src/abi/layout.gen.ts';
import { decodeDevice, encodeDevice } from '../../../src/maps/rows.ts';
import { chooseDevices } from '../../../src/hooks/devices.ts';
import type { NetAddress, NetDevice } from '../../../native/index.ts';
import { findPods } from '../../../src/host/detection.ts';
import { findFacts } from '../../../src/host/facts.ts';
import { Host, type HostOptions } from '../../../src/host/host.ts';
import { nodeAddressesOf } from '../../../src/host/identity.ts';
import type { Network } from '../../../src/host/network.ts';
import { placeNodePorts } from '../../../src/host/nodeports.ts';
import { rolesOf, type Detection } from '../../../src/host/roles.ts';
import type { HostFacts } from '../../../src/model/types.ts';
import { listen } from '../../../src/observe/channels.ts';
import type { NodeObject } from '../../../src/source/objects.ts';
import {
  addressOf,
  anyDevices,
  bond,
  bonded,
  bridge,
  dummy,
  eth0,
  eth1,
  ifb,
  ip6tnl,
  ipoib,
  lo,
  localVeth,
  loopbackAddresses,
  pod,
  sit,
  tap,
  vlan,
  vxlan,
  wireguard,
} from '../../support/kernel/devices.ts';
import { node } from '../../support/kube/objects.ts';
import { holds } from '../../support/run/property.ts';

function network(
  devices: readonly NetDevice[],
  addresses: readonly NetAddress[] = [],
  defaultRoutes: readonly number[] = [],
): Network {
  return { devices, addresses, defaultRoutes };
}

const byDevice: Detection = { mode: 'Device' };
const inDevice = { uplinks: [] as string[], detection: byDevice };

/** What of a device's row is about where sources lead, by name. */
function paths(net: Network, rpFilters: Readonly<Record<number, number>>) {
  const filters = new Map(Object.entries(rpFilters).map(([index, filter]) => [Number(index), filter]));
  const options = { detection: byDevice, nodePorts: { localhost: true, addresses: [] } };
  const { facts } = findFacts(
    { ...net, rpFilters: filters },
    rolesOf(net, inDevice),
    { addresses: [], podCidrs: [] },
    options,
  );
  const name = (wanted: number): string => net.devices.find(({ index }) => index === wanted)?.name ?? '';
  return Object.fromEntries(
    facts.devices.map(({ ifindex, rpFilter, rpFilter6, lower, vlan: id }) => [
      name(ifindex),
      [rpFilter, rpFilter6, lower, id],
    ]),
  );
}

t.test('source checks follow rp_filter, for IPv6 at pod devices alone (S-61, S-64)', async (t) => {
  const onVlan = { ...bridge, index: 40, name: 'br7' };
  const portOfIt = { ...vlan, index: 41, name: 'eth1.9', vlan: 9, master: 40 };
  const routed = { ...pod, index: 42, name: 'veth13', master: 0 };
  const shared = { ...vlan, index: 43, name: 'ipvl0', kind: 'ipvlan', vlan: 0 };
  const net = network(
    [eth0, eth1, vlan, bridge, pod, routed, onVlan, portOfIt, shared],
    [addressOf(eth0, '192.0.2.9'), addressOf(bridge, '10.244.0.1'), addressOf(vlan, '198.51.100.9')],
    [2],
  );
  const all = (filter: number) =>
    paths(net, Object.fromEntries(net.devices.map(({ index }) => [index, filter])));
  t.same(all(1), {
    ...{ eth0: [1, 0, 0, 0], eth1: [1, 0, 0, 0], 'eth1.7': [1, 0, 3, 7], cni0: [1, 0, 0, 0] },
    ...{ veth12: [1, 1, 0, 0], veth13: [1, 1, 0, 0] },
    ...{ br7: [1, 0, 3, 9], 'eth1.9': [1, 0, 3, 9], ipvl0: [1, 0, 3, 0] },
  });
  const loose = all(2);
  t.same(
    [loose['eth0'], loose['veth12']],
    [
      [2, 0, 0, 0],
      [2, 2, 0, 0],
    ],
    'loose at an address, also of the bridge',
  );
  t.same(
    [loose['eth1'], loose['veth13']],
    [
      [1, 0, 0, 0],
      [1, 2, 0, 0],
    ],
    'strict, as the kernel, without one',
  );
  t.same(all(0)['veth13'], [0, 0, 0, 0]);
  const mixed = paths(net, { [bridge.index]: 1, [pod.index]: 0, [eth0.index]: 2 });
  t.same(
    [mixed['veth12'], mixed['eth0'], mixed['veth13']],
    [
      [1, 1, 0, 0],
      [2, 0, 0, 0],
      [0, 0, 0, 0],
    ],
  );
});

function named(net: Network, options: { uplinks: readonly string[]; detection: Detection } = inDevice) {
  const roles = rolesOf(net, options);
  return Object.fromEntries(net.devices.map(({ name, index }) => [name, roles.get(index)]));
}

t.test('roles of devices', async (t) => {
  const all = [lo, eth0, eth1, bridge, pod, localVeth, wireguard, vxlan];
  t.same(named(network(all, [], [2])), {
    lo: 'host',
    eth0: 'uplink',
    eth1: 'uplink',
    cni0: 'other',
    veth12: 'pod',
    v0: 'other',
    wg0: 'tunnel',
    'flannel.1': 'tunnel',
  });
  const down = { ...eth1, up: false };
  t.match(named(network([eth0, down], [], [2])), { eth1: 'other' }, 'hardware that is down leads nowhere');
  t.match(
    named(network([eth0], [], [99])),
    { eth0: 'uplink' },
    'a route of a vanished device does not count',
  );
  t.match(
    named(network([{ ...pod, name: 'eth0' }], [], [5])),
    { eth0: 'uplink' },
    'a veth with the default route',
  );
  t.match(
    named(network([{ ...vxlan, name: 'vx' }], [], [8])),
    { vx: 'uplink' },
    'the default route through a tunnel',
  );
});

t.test('a device on hardware is an uplink when it has an address', async (t) => {
  const stacked = [bond, bonded, eth1, vlan];
  t.match(named(network(stacked)), { bond0: 'other', eth2: 'other', 'eth1.7': 'other', eth1: 'uplink' });
  const addresses = [addressOf(bond, '192.0.2.1'), addressOf(vlan, '198.51.100.1')];
  t.match(named(network(stacked, addresses)), { bond0: 'uplink', eth2: 'other', 'eth1.7': 'uplink' });
  const onBond = { ...vlan, name: 'bond0.9', index: 20, lower: bond.index };
  t.match(named(network([bond, bonded, onBond], [addressOf(onBond, '192.0.2.9')])), { 'bond0.9': 'uplink' });
  const onBridge = { ...vlan, name: 'cni0.9', index: 21, lower: bridge.index };
  t.match(
    named(network([bridge, onBridge], [addressOf(onBridge, '192.0.2.9')])),
    { 'cni0.9': 'other' },
    'nothing leads out below it',
  );
});

t.test('--uplinks adds uplinks, and with ! removes them', async (t) => {
  const uplinks = ['v*', '!eth1'];
  t.match(named(network([eth0, eth1, pod], [], [2]), { ...inDevice, uplinks }), {
    eth0: 'uplink',
    eth1: 'other',
    veth12: 'uplink',
  });
});

t.test('pod devices recognised by bridge or name get programs, whatever their kind (S-76)', async (t) => {
  const net = network([eth0, bridge, tap, vxlan, { ...tap, index: 30, name: 'lxc7', master: 0 }], [], [2]);
  t.match(named(net, { uplinks: [], detection: { mode: 'BridgeInterface', bridge: 'cni0' } }), {
    eth0: 'uplink',
    tap0: 'pod',
    lxc7: 'other',
    'flannel.1': 'tunnel',
  });
  t.match(named(net, { uplinks: [], detection: { mode: 'InterfaceNamePrefix', prefix: 'lxc' } }), {
    eth0: 'uplink',
    tap0: 'other',
    lxc7: 'pod',
  });
});

const dual = [addressOf(eth0, '192.0.2.1'), addressOf(eth0, '2001:db8::1')];
const world = network([lo, eth0, bridge, pod, tap, vxlan], dual, [2]);

function pods(detection: Detection, net: Network, podCidrs: readonly string[] = []) {
  const found = findPods(detection, net, rolesOf(net, { uplinks: [], detection }), podCidrs);
  const roles = Object.fromEntries(net.devices.map((device) => [device.name, found.roleOf(device)]));
  return { ranges: found.ranges, roles, notes: found.notes };
}

t.test('how pods are recognised, mode by mode (S-76)', async (t) => {
  const devices = {
    lo: 'host',
    eth0: 'uplink',
    cni0: 'pod',
    veth12: 'pod',
    tap0: 'pod',
    'flannel.1': 'uplink',
  };
  const outside = { lo: 'host', eth0: 'uplink', cni0: 'uplink', veth12: 'uplink', tap0: 'uplink' };
  t.same(pods(byDevice, world), { ranges: [], roles: devices, notes: [] });

  const both: Detection = { mode: 'ClusterCIDR', ranges: ['10.244.1.9/16', 'fd00::/48'] };
  t.match(pods(both, world), { ranges: ['10.244.0.0/16', 'fd00::/48'], roles: outside, notes: [] });

  const one: Detection = { mode: 'ClusterCIDR', ranges: ['10.244.0.0/16'] };
  t.match(pods(one, world), {
    ranges: ['10.244.0.0/16'],
    roles: devices,
    notes: [/--cluster-cidr has no IPv6 range/],
  });
  const single = network(world.devices, dual.slice(0, 1), [2]);
  t.match(pods(one, single), { roles: outside, notes: [] }, 'a node of one family needs one range');

  t.match(pods({ mode: 'NodeCIDR' }, single, ['10.244.7.0/24']), {
    ranges: ['10.244.7.0/24'],
    roles: outside,
  });
  t.match(
    pods({ mode: 'NodeCIDR' }, single),
    { ranges: [], roles: devices, notes: [/spec.podCIDRs of the Node has no IPv4 range/] },
    'until the ranges are given out',
  );

  const ports = { ...outside, cni0: 'pod', veth12: 'pod', tap0: 'pod' };
  t.match(pods({ mode: 'BridgeInterface', bridge: 'cni0' }, world), { ranges: [], roles: ports, notes: [] });
  t.match(pods({ mode: 'BridgeInterface', bridge: 'br7' }, world), {
    roles: outside,
    notes: [/no bridge br7/],
  });
  t.match(pods({ mode: 'InterfaceNamePrefix', prefix: 'veth' }, world), {
    ranges: [],
    roles: { ...outside, veth12: 'pod' },
    notes: [],
  });
});

t.test('where NodePorts answer (S-56, S-57)', async (t) => {
  const local = ['127.0.0.1', '::1', '192.0.2.1', '198.51.100.1', '2001:db8::1', '2001:db8:1::1'];
  const primary = ['192.0.2.1', '2001:db8::1'];
  const places = (addresses: readonly string[], localhost = true) => {
    const found = placeNodePorts(local, primary, { addresses, localhost });
    t.same(
      found.addresses.map(({ address }) => address),
      local,
      'every address has a row',
    );
    return {
      at: found.addresses.filter(({ nodePort }) => nodePort).map(({ address }) => address),
      notes: found.notes,
    };
  };
  t.same(places([]), { at: local, notes: [] }, 'unset: everywhere');
  t.same(places([], false).at, local.slice(2), 'loopback can be switched off');
  t.same(places(['0.0.0.0/0', '2001:db8::/48']).at, [
    '127.0.0.1',
    '192.0.2.1',
    '198.51.100.1',
    '2001:db8::1',
  ]);
  t.same(
    places(['198.51.100.0/24']).at,
    ['::1', '198.51.100.1', '2001:db8::1', '2001:db8:1::1'],
    'a family alone',
  );
  t.same(places(['127.0.0.0/8', '192.0.2.0/24', '::/0']).at, [
    '127.0.0.1',
    '::1',
    ...local.filter((a) => a !== '198.51.100.1').slice(2),
  ]);
  t.same(places(['127.0.0.0/8', '192.0.2.0/24'], false).at, ['192.0.2.1', '2001:db8::1', '2001:db8:1::1']);
  t.same(places(['primary']), { at: primary, notes: [] });
  t.same(places(['all']), { at: local, notes: [] }, 'as if unset');
  t.same(places(['all'], false).at, local.slice(2));
  t.same(places(['localhost']), { at: ['127.0.0.1', '::1'], notes: [] });
  t.same(places(['primary', 'localhost']), { at: ['127.0.0.1', '::1', ...primary], notes: [] });
  t.same(
    places(['localhost', 'primary'], false).at,
    primary,
    '--localhost-nodeports=false has the last word',
  );
  t.same(places(['198.51.100.0/24', 'primary']).at, ['192.0.2.1', '198.51.100.1', '2001:db8::1']);
  t.same(places(['localhost', '198.51.100.0/24']).at, ['127.0.0.1', '::1', '198.51.100.1']);
  t.same(places(['primary', '10.0.0.0/8', 'all']).at, local, 'all takes in everything beside it');
  t.same(places(['0.0.0.0/0', 'primary']).at, ['127.0.0.1', '192.0.2.1', '198.51.100.1', '2001:db8::1']);
  t.match(places(['10.0.0.0/8', 'fd00::/8']), { at: [], notes: [/no IPv4 address/, /no IPv6 address/] });
  const loopbacks = placeNodePorts(local, primary, { addresses: [], localhost: true });
  t.same(
    loopbacks.addresses.filter(({ loopback }) => loopback).map(({ address }) => address),
    ['127.0.0.1', '::1'],
  );
});

t.test('the addresses of this node in the cluster (S-112)', async (t) => {
  const net = network([lo, eth0, pod], [...loopbackAddresses, addressOf(pod, '10.244.1.1'), ...dual], [2]);
  const roles = rolesOf(net, inDevice);
  const told = (list: NodeObject['addresses']): NodeObject => ({ ...node('n'), addresses: list });
  const find = (given: readonly string[], object?: NodeObject) => nodeAddressesOf(given, object, net, roles);
  t.same(find(['2001:DB8:0::5', '192.0.2.5']), ['2001:db8::5', '192.0.2.5'], 'as told');
  const object = told([
    { type: 'Hostname', address: 'n' },
    { type: 'ExternalIP', address: '203.0.113.1' },
    { type: 'InternalIP', address: 'fd00::0:1' },
    { type: 'ExternalIP', address: '203.0.113.2' },
    { type: 'InternalIP', address: 'fd00::2' },
  ]);
  t.same(
    find([], object),
    ['fd00::1', '203.0.113.1'],
    'InternalIP before ExternalIP, the first of each family',
  );
  t.same(find([]), ['192.0.2.1', '2001:db8::1'], 'of the uplinks');
  t.same(find([], told([{ type: 'Hostname', address: 'n' }])), ['192.0.2.1', '2001:db8::1']);
});

t.test('facts: addresses and sources of masqueraded packets (S-68, S-113)', async (t) => {
  const addresses = [
    ...loopbackAddresses,
    addressOf(dummy, '10.96.0.1'),
    addressOf(eth0, '203.0.113.9', { prefix: 32 }), // floats between nodes
    addressOf(eth0, '192.0.2.1'),
    addressOf(eth0, '192.0.2.7'),
    addressOf(eth1, '198.51.100.1'),
    addressOf(eth0, '2001:db8::ffff', { prefix: 128 }),
    addressOf(eth0, '2001:db8::99', { flags: 0x01 }),
    addressOf(eth0, '2001:db8::66', { flags: 0x40 }),
    addressOf(eth0, '2001:db8::1'),
    addressOf(eth0, 'fe80::1', { scope: 253 }),
    addressOf(bridge, '10.244.1.1'),
  ];
  const net = network([lo, eth0, eth1, bridge, pod, dummy], addresses, [2]);
  const roles = rolesOf(net, inDevice);
  const options = { detection: byDevice, nodePorts: { addresses: [], localhost: true } };
  const { facts } = findFacts(
    net,
    roles,
    { addresses: ['203.0.113.1', '198.51.100.1'], podCidrs: [] },
    options,
  );
  t.same(
    facts.addresses.map(({ address }) => address),
    [
      '10.244.1.1',
      '127.0.0.1',
      '192.0.2.1',
      '192.0.2.7',
      '198.51.100.1',
      '2001:db8::1',
      '2001:db8::66',
      '2001:db8::99',
      '2001:db8::ffff',
      '203.0.113.9',
      '::1',
    ],
    'neither of kube-ipvs0 nor link-local',
  );
  const source = ({ index }: NetDevice) => {
    const found = facts.devices.find(({ ifindex }) => ifindex === index);
    return [found?.addr4, found?.addr6];
  };
  t.same(source(eth0), ['192.0.2.1', '2001:db8::1'], 'neither temporary nor tentative');
  t.same(source(eth1), ['198.51.100.1', '2001:db8::1'], "the node's where the device has none");
  t.same(source(pod), ['10.244.1.1', '2001:db8::1'], 'of the bridge whose port it is');
  t.same(source(bridge), ['10.244.1.1', '2001:db8::1']);
  t.match(facts.devices, [
    { ifindex: 1, role: 'host' },
    { ifindex: 2, role: 'uplink', mac: eth0.mac },
  ]);
  const bare = findFacts(network([lo, pod]), new Map(), { addresses: [], podCidrs: [] }, options);
  t.match(bare.facts.devices[1], { addr4: undefined, addr6: undefined }, 'no address, no source');
});

const everywhere = { detection: byDevice, nodePorts: { addresses: [], localhost: true } };

function rowsOf(net: Network) {
  return findFacts(net, rolesOf(net, inDevice), { addresses: [], podCidrs: [] }, everywhere).facts.devices;
}

t.test('a device whose hardware address is not Ethernet’s has none in its row (S-113)', async (t) => {
  const net = network([lo, eth0, ipoib, ip6tnl, { ...sit, up: true }, { ...eth1, mac: '' }], dual, [2]);
  t.match(rowsOf(net), [
    { ifindex: lo.index, role: 'host' },
    { ifindex: eth0.index, mac: eth0.mac, role: 'uplink' },
    { ifindex: ipoib.index, mac: '', role: 'uplink', addr4: '192.0.2.1' },
    { ifindex: ip6tnl.index, mac: '', role: 'uplink' },
    { ifindex: sit.index, mac: '', role: 'uplink' },
    { ifindex: eth1.index, mac: '', role: 'uplink' },
  ]);
});

t.test('devices that carry no packets of the data path have no row', async (t) => {
  const down = { ...ip6tnl, up: false };
  const net = network([lo, eth0, sit, down, dummy, ifb, pod, localVeth], dual, [2]);
  t.same(
    rowsOf(net).map(({ ifindex }) => ifindex),
    [lo, eth0, pod, localVeth].map(({ index }) => index),
  );
});

t.test('a hardware device is never a pod device, even before it is up', async (t) => {
  const down = { ...eth1, up: false };
  t.match(rowsOf(network([eth0, down], dual, [2])), [{ role: 'uplink' }, { role: 'uplink' }]);
});

t.test('devices of every type, with hardware addresses of every length, become rows (S-113)', async (t) => {
  const property = fc.property(anyDevices, fc.array(fc.integer({ min: 1, max: 30 })), (devices, routes) => {
    const net = network(devices, [], routes);
    const roles = rolesOf(net, inDevice);
    const rows = rowsOf(net);
    const bytes = new Uint8Array(slbDevice.size);
    for (const row of rows) {
      encodeDevice(row, bytes, 0);
      const key = new Uint8Array(Uint32Array.of(row.ifindex).buffer);
      const kept = decodeDevice(key, bytes, 0);
      if (kept.mac !== row.mac.replace('00:00:00:00:00:00', ''))
        throw new Error(`${row.mac} kept as ${kept.mac}`);
      if (roles.get(row.ifindex) === 'uplink' && row.role !== 'uplink')
        throw new Error('an uplink counts as a pod');
    }
    const { chosen } = chooseDevices({ network: net, roles }, ['*']);
    const known = new Set(rows.map(({ ifindex }) => ifindex));
    const lacking = chosen.filter(({ device }) => !known.has(device.index));
    if (lacking.length > 0) throw new Error(`programs without a row: ${JSON.stringify(lacking)}`);
  });
  holds(t, property, { numRuns: 2_000 });
});

/** A network that says what it is when asked. */
const fixed = (current: () => Network) => ({
  current,
  note: () => undefined,
  forget: () => undefined,
  dueIn: () => undefined,
});

t.test('changes of the host are reported, and nothing else (S-108, S-113)', async (t) => {
  const options: HostOptions = {
    ...inDevice,
    nodeAddresses: [],
    nodePorts: { addresses: ['192.0.2.0/24'], localhost: true },
  };
  let net = network([lo, eth0], [addressOf(eth0, '192.0.2.1')], [2]);
  let object: NodeObject | undefined;
  const applied: HostFacts[] = [];
  const told: string[] = [];
  t.teardown(listen('host.changed', ({ node: addresses }) => told.push(addresses.join())));
  t.teardown(listen('host.unexpected', ({ detail }) => told.push(detail)));
  const host = new Host(options, {
    node: () => object,
    network: fixed(() => net),
  });
  let changes = 0;
  host.onChange(({ facts }) => {
    applied.push(facts);
    changes++;
  });
  host.refresh();
  t.same([host.nodeAddresses, host.nodePortAddresses, changes], [['192.0.2.1'], ['192.0.2.1'], 1]);
  host.refresh();
  t.equal(applied.length, 1, 'nothing new');

  net = network([lo, eth0], [addressOf(eth0, '192.0.2.1'), addressOf(eth0, '192.0.2.2')], [2]);
  host.refresh();
  t.same(host.nodePortAddresses, ['192.0.2.1', '192.0.2.2'], 'an address that came');

  object = { ...node('n'), addresses: [{ type: 'InternalIP', address: '192.0.2.2' }] };
  host.refresh();
  t.same(host.nodeAddresses, ['192.0.2.2']);
  object = undefined;
  host.refresh();
  t.same(host.nodeAddresses, ['192.0.2.1'], 'without the Node object it goes on with what it sees');

  net = network([lo, eth0], [addressOf(eth0, '198.51.100.1')], [2]);
  host.refresh();
  host.refresh();
  t.same(host.nodePortAddresses, []);
  for (const addresses of [[], ['all'], ['primary', 'all']]) {
    const everywhere = new Host(
      { ...options, nodePorts: { addresses, localhost: true } },
      { node: () => object, network: fixed(() => net) },
    );
    t.equal(everywhere.nodePortAddresses, undefined, 'everywhere, also at addresses to come');
  }
  const devices: number[] = [];
  t.teardown(listen('host.devices', (fact) => devices.push(fact.devices)));
  const before = told.length;
  net = network([lo, eth0, pod], [addressOf(eth0, '198.51.100.1')], [2]);
  host.refresh();
  t.same([devices.length, told.length], [1, before], 'a pod device is no change of addresses');
  t.match(told.splice(4), [/matches no IPv4 address/, '198.51.100.1'], 'said once');
  t.same([applied.length, changes], [6, 6]);
});
