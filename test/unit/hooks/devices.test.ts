// Which devices get programs, and in which directions; and how pins are named.
import t from 'tap';
import type { NetDevice } from '../../../native/index.ts';
import { chooseDevices, directionsOf } from '../../../src/hooks/devices.ts';
import { parseLinkName, pinKinds } from '../../../src/hooks/paths.ts';
import { rolesOf } from '../../../src/host/roles.ts';
import * as device from '../../support/kernel/devices.ts';

const { lo, eth0, eth1, bridge, pod, localVeth, wireguard, vxlan, ifb, bond, bonded } = device;
const all = [lo, eth0, eth1, bridge, pod, localVeth, wireguard, vxlan, ifb];

interface DeviceCase {
  readonly title: string;
  readonly devices: readonly NetDevice[];
  readonly routes: readonly number[];
  readonly patterns: readonly string[];
  readonly chosen: readonly string[]; // name:role
}

const deviceCases: readonly DeviceCase[] = [
  {
    title: 'by default uplinks, tunnels, pods and loopback',
    devices: all,
    routes: [2],
    patterns: [],
    chosen: ['lo:host', 'eth0:uplink', 'eth1:uplink', 'veth12:pod', 'flannel.1:tunnel'],
  },
  {
    title: 'an uplink that is a veth, as in a container',
    devices: [{ ...pod, name: 'eth0' }],
    routes: [5],
    patterns: [],
    chosen: ['eth0:uplink'],
  },
  {
    title: 'excludes take from the default',
    devices: all,
    routes: [2],
    patterns: ['!veth*', '!eth1', '!lo'],
    chosen: ['eth0:uplink', 'flannel.1:tunnel'],
  },
  {
    title: 'names, and the loopback that belongs to any choice',
    devices: all,
    routes: [2],
    patterns: ['cni0', 'eth1'],
    chosen: ['lo:host', 'eth1:uplink', 'cni0:other'],
  },
  {
    title: 'globs and excludes',
    devices: all,
    routes: [2],
    patterns: ['eth?', 'v*', '!v0'],
    chosen: ['lo:host', 'eth0:uplink', 'eth1:uplink', 'veth12:pod'],
  },
  {
    title: 'a dot is a dot',
    devices: [vxlan, { ...vxlan, index: 99, name: 'flannelX1' }],
    routes: [],
    patterns: ['flannel.1'],
    chosen: ['flannel.1:tunnel'],
  },
  {
    title: 'bond and port by name',
    devices: [bond, bonded],
    routes: [],
    patterns: ['*'],
    chosen: ['bond0:other', 'eth2:other'],
  },
  {
    title: 'everything: still no layer 3, no ifb',
    devices: [wireguard, ifb],
    routes: [7],
    patterns: ['*'],
    chosen: [],
  },
];

function choose(
  devices: readonly NetDevice[],
  defaultRoutes: readonly number[],
  patterns: readonly string[],
) {
  const network = { devices, addresses: [], defaultRoutes };
  const roles = rolesOf(network, { uplinks: [], detection: { mode: 'Device' } });
  return chooseDevices({ network, roles }, patterns);
}

t.test('device choice', async (t) => {
  for (const { title, devices, routes, patterns, chosen } of deviceCases) {
    const choice = choose(devices, routes, patterns);
    t.same(
      choice.chosen.map(({ device, role }) => `${device.name}:${role}`),
      chosen,
      title,
    );
    t.equal(
      choice.chosen.length + choice.skipped.length,
      devices.length,
      'each device is chosen or has a reason',
    );
  }
  const { skipped } = choose([...all, { ...pod, index: 98, name: 'out' }], [2], ['!out']);
  t.same(Object.fromEntries(skipped.map(({ device, reason }) => [device.name, reason])), {
    cni0: 'neither uplink nor tunnel nor pod device',
    v0: 'neither uplink nor tunnel nor pod device',
    wg0: 'no Ethernet header',
    ifb0: 'an ifb device repeats the traffic of another',
    out: 'excluded by --devices',
  });
  t.same(directionsOf('host'), ['egress'], 'what comes from loopback has been seen as it left for it');
  for (const role of ['uplink', 'tunnel', 'pod', 'other'] as const)
    t.same(directionsOf(role), ['ingress', 'egress'], role);
});

t.test('names of pins', async (t) => {
  for (const kind of pinKinds) t.same(parseLinkName(`${kind}-17`), { kind, target: 17 });
  for (const name of ['tcx-in', 'tcx-in-', 'tcx-in-x', 'other-3', '', 'qdisc--1x'])
    t.equal(parseLinkName(name), undefined);
});
