// Network devices made up for tests of what is done with them.
import fc from 'fast-check';
import type { NetAddress, NetDevice } from '../../../native/index.ts';
import { familyOf } from '../../../src/net/ip.ts';

const hardware: NetDevice = {
  index: 1,
  name: 'eth0',
  up: true,
  kind: '',
  mtu: 1500,
  mac: '02:00:00:00:00:01',
  arpType: 1,
  master: 0,
  lower: 0,
  vlan: 0,
  peerNetns: -1,
  physical: true,
  xdpProgramId: 0,
};
const software = { ...hardware, physical: false };

export const lo = { ...software, index: 1, name: 'lo', arpType: 772 };
export const eth0 = { ...hardware, index: 2 };
export const eth1 = { ...hardware, index: 3, name: 'eth1' };
export const bridge = { ...software, index: 4, name: 'cni0', kind: 'bridge' };
export const pod = { ...software, index: 5, name: 'veth12', kind: 'veth', master: 4, peerNetns: 3 };
export const localVeth = { ...software, index: 6, name: 'v0', kind: 'veth' };
export const wireguard = { ...software, index: 7, name: 'wg0', kind: 'wireguard', arpType: 65534 };
export const vxlan = { ...software, index: 8, name: 'flannel.1', kind: 'vxlan' };
export const ifb = { ...software, index: 9, name: 'ifb0', kind: 'ifb' };
export const bond = { ...software, index: 10, name: 'bond0', kind: 'bond' };
export const bonded = { ...hardware, index: 11, name: 'eth2', master: 10 };
export const vlan = { ...software, index: 12, name: 'eth1.7', kind: 'vlan', lower: 3, vlan: 7 };
export const tap = { ...software, index: 13, name: 'tap0', kind: 'tun', master: 4 };
export const sit = {
  ...software,
  index: 15,
  name: 'sit0',
  kind: 'sit',
  arpType: 776,
  mac: '00:00:00:00',
  up: false,
};
export const ip6tnl = {
  ...software,
  index: 16,
  name: 'ip6tnl0',
  kind: 'ip6tnl',
  arpType: 769,
  mac: '00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00',
};
export const ipoib = {
  ...hardware,
  index: 17,
  name: 'ib0',
  arpType: 32,
  mac: '80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01',
};
export const dummy = { ...software, index: 14, name: 'kube-ipvs0', kind: 'dummy' };

/** scope and flags as the kernel has them: 0 and 128 for an address that works everywhere and for ever. */
export function addressOf(
  device: NetDevice,
  address: string,
  more: Partial<Pick<NetAddress, 'scope' | 'flags' | 'prefix'>> = {},
): NetAddress {
  const prefix = familyOf(address) === 6 ? 64 : 24;
  return { index: device.index, address, prefix, scope: 0, flags: 0x80, ...more };
}

export const loopbackAddresses = [
  addressOf(lo, '127.0.0.1', { scope: 254 }),
  addressOf(lo, '::1', { scope: 254 }),
];

/**
 * ARPHRD_*: NET/ROM, Ethernet, AX.25, FireWire, InfiniBand, CAN, PPP, raw IP, tunnels, loopback, SIT, radio, netlink,
 * none, void.
 */
const arpTypes = [
  0, 1, 3, 24, 32, 280, 512, 519, 768, 769, 772, 776, 778, 803, 823, 824, 825, 826, 65_534, 65_535,
];
const kinds = [
  ...[
    '',
    'veth',
    'netkit',
    'bridge',
    'bond',
    'team',
    'vlan',
    'macvlan',
    'ipvlan',
    'dummy',
    'ifb',
    'nlmon',
    'tun',
    'ipoib',
  ],
  ...[
    'vxlan',
    'geneve',
    'wireguard',
    'ipip',
    'gre',
    'gretap',
    'erspan',
    'sit',
    'ip6tnl',
    'ip6gre',
    'vti',
    'vti6',
    'xfrm',
    'vcan',
  ],
];
/** Bytes of a hardware address: none, IPv4, Ethernet, FireWire, IPv6, InfiniBand, the most that the kernel allows. */
const addressLengths = [0, 4, 6, 7, 8, 16, 20, 32];

const anyMac = fc
  .constantFrom(...addressLengths)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
  .map((octets) => Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join(':'));

/** A device of any type, with a hardware address of any length. */
export const anyDevice: fc.Arbitrary<NetDevice> = fc.record({
  index: fc.integer({ min: 1, max: 30 }),
  name: fc.constantFrom('lo', 'eth0', 'ip6tnl0', 'sit0', 'ib0', 'veth1', 'tun0', 'kube-ipvs0'),
  up: fc.boolean(),
  kind: fc.constantFrom(...kinds),
  mtu: fc.constantFrom(0, 68, 1280, 1500, 9000, 65_536),
  mac: anyMac,
  arpType: fc.constantFrom(...arpTypes),
  master: fc.integer({ min: 0, max: 30 }),
  lower: fc.integer({ min: 0, max: 30 }),
  vlan: fc.integer({ min: 0, max: 4094 }),
  peerNetns: fc.integer({ min: -1, max: 3 }),
  physical: fc.boolean(),
  xdpProgramId: fc.constant(0),
});

export const anyDevices: fc.Arbitrary<readonly NetDevice[]> = fc.uniqueArray(anyDevice, {
  selector: ({ index }) => index,
  maxLength: 12,
});
