// Network devices made up for tests of what is done with them.
import type { NetAddress, NetDevice } from '../../native/index.ts';

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
export const vlan = { ...software, index: 12, name: 'eth1.7', kind: 'vlan', lower: 3 };
export const tap = { ...software, index: 13, name: 'tap0', kind: 'tun', master: 4 };
export const dummy = { ...software, index: 14, name: 'kube-ipvs0', kind: 'dummy' };

/** scope and flags as the kernel has them: 0 and 128 for an address that works everywhere and for ever. */
export function addressOf(
  device: NetDevice,
  address: string,
  { scope = 0, flags = 0x80 }: Partial<Pick<NetAddress, 'scope' | 'flags'>> = {},
): NetAddress {
  return { index: device.index, address, prefix: address.includes(':') ? 64 : 24, scope, flags };
}

export const loopbackAddresses = [
  addressOf(lo, '127.0.0.1', { scope: 254 }),
  addressOf(lo, '::1', { scope: 254 }),
];
