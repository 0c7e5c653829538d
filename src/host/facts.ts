// What the data path must know of this host: its addresses, its devices, and how pods are told. Pure.
import type { NetAddress, NetDevice } from '../../native/index.ts';
import { canonicalAddress, familyOf, type Family } from '../net/ip.ts';
import type { HostDevice, HostFacts } from '../model/types.ts';
import { findPods } from './detection.ts';
import { etherAddressOf, hasRow } from './ethernet.ts';
import { bestFirst } from './identity.ts';
import type { Network } from './network.ts';
import { placeNodePorts, type NodePortOptions } from './nodeports.ts';
import type { Detection, Roles } from './roles.ts';

export interface FactOptions {
  readonly detection: Detection;
  readonly nodePorts: NodePortOptions;
}

export interface Found {
  readonly facts: HostFacts;
  /** What of the options cannot be met. */
  readonly notes: readonly string[];
}

interface KnownNode {
  readonly addresses: readonly string[]; // canonical
  readonly podCidrs: readonly string[];
}

export function findFacts(network: Network, roles: Roles, node: KnownNode, options: FactOptions): Found {
  const local = localAddresses(network);
  const places = placeNodePorts(local, node.addresses, options.nodePorts);
  const pods = findPods(options.detection, network, roles, node.podCidrs);
  const sourceOf = sources(network, roles, node.addresses);
  const bridges = new Set(network.devices.filter(({ kind }) => kind === 'bridge').map(({ index }) => index));
  // A port of a bridge has no addresses of its own: those of the bridge are used.
  const bridgeOf = ({ master }: NetDevice): number | undefined => (bridges.has(master) ? master : undefined);
  const pathOf = reversePaths(network, roles, bridgeOf);
  const devices = network.devices.filter(hasRow).map((device): HostDevice => ({
    ifindex: device.index,
    addr4: sourceOf(bridgeOf(device) ?? device.index, 4),
    addr6: sourceOf(bridgeOf(device) ?? device.index, 6),
    mac: etherAddressOf(device),
    role: pods.roleOf(device),
    netns: device.peerNetns,
    bridge: bridgeOf(device) ?? 0,
    ...pathOf(device),
  }));
  return {
    facts: { addresses: places.addresses, devices, podRanges: pods.ranges },
    notes: [...places.notes, ...pods.notes],
  };
}

type ReversePath = Pick<HostDevice, 'rpFilter' | 'rpFilter6' | 'lower' | 'vlan'>;

const [strict, loose] = [1, 2]; // of rp_filter

/** Devices that share the MAC address of a lower device, at which their packets are seen first. */
const sharingKinds = new Set(['vlan', 'ipvlan']);

/**
 * How the data path checks sources (RFC 3704; the kernel's fib_validate_source()). At a device without an IPv4 address
 * the kernel treats loose as strict. It does not check IPv6 sources: devices of pods follow the IPv4 setting, since
 * routes to pods are symmetric; an uplink may have asymmetric routes and is not checked.
 */
function reversePaths(
  { devices, addresses, rpFilters }: Network,
  roles: Roles,
  bridgeOf: (device: NetDevice) => number | undefined,
): (device: NetDevice) => ReversePath {
  const addressed = new Set(
    addresses.filter(({ address }) => familyOf(address) === 4).map(({ index }) => index),
  );
  const sharing = devices.filter(({ kind, lower }) => sharingKinds.has(kind) && lower !== 0);
  return (device) => {
    const at = bridgeOf(device) ?? device.index;
    const filter = rpFilters?.get(at) ?? 0;
    // Packets that come in by a port of a bridge are routed as the bridge's.
    const upper = sharing.find(({ index, master }) => index === device.index || master === device.index);
    return {
      rpFilter: filter === loose && !addressed.has(at) ? strict : filter,
      rpFilter6: roles.get(device.index) === 'pod' ? filter : 0,
      lower: upper?.lower ?? 0,
      vlan: upper?.vlan ?? 0,
    };
  };
}

const ipvsDevice = 'kube-ipvs0';

/**
 * Every address that the kernel accepts packets for (S-113), except those of kube-ipvs0, where the ipvs mode of
 * kube-proxy keeps ClusterIPs, and IPv6 link-local ones, which are valid on one link only: a row has no link.
 */
function localAddresses({ devices, addresses }: Network): readonly string[] {
  const ipvs = devices.find(({ name }) => name === ipvsDevice)?.index;
  const texts = addresses
    .filter(({ index, address }) => index !== ipvs && !/^fe[89ab]/i.test(address))
    .flatMap(({ address }) => canonicalAddress(address) ?? []);
  return [...new Set(texts)].sort();
}

/** In the kernel's order of preference, with /32 and /128 addresses last: they often float between nodes. */
function subnetsFirst(addresses: readonly NetAddress[]): readonly string[] {
  const isSingle = ({ address, prefix }: NetAddress): boolean =>
    prefix === (familyOf(address) === 4 ? 32 : 128);
  return [...bestFirst(addresses.filter((one) => !isSingle(one))), ...bestFirst(addresses.filter(isSingle))];
}

/** The source of masqueraded packets that leave by a device: an address of the device, else of the node (S-68). */
function sources(
  network: Network,
  roles: Roles,
  nodeAddresses: readonly string[],
): (ifindex: number, family: Family) => string | undefined {
  const { addresses } = network;
  const isOwn = (address: string): boolean => addresses.some((own) => own.address === address);
  // The Node object may have addresses that a router translates (1:1 NAT): replies to them would not arrive.
  const shared = [
    ...nodeAddresses.filter(isOwn),
    ...subnetsFirst(addresses.filter(({ index }) => roles.get(index) === 'uplink')),
    ...subnetsFirst(addresses),
  ];
  // Runs for every device before a new pod has its programs, so look-ups are by index: most devices are pods'.
  const own = addressesByDevice(addresses);
  const firstOf = (family: Family, texts: readonly string[]): string | undefined =>
    texts.find((address) => familyOf(address) === family);
  const otherwise = { 4: firstOf(4, shared), 6: firstOf(6, shared) };
  return (ifindex, family) => firstOf(family, own.get(ifindex) ?? []) ?? otherwise[family];
}

/** By ifindex, in order of preference. */
function addressesByDevice(addresses: readonly NetAddress[]): ReadonlyMap<number, readonly string[]> {
  const groups = new Map<number, NetAddress[]>();
  for (const one of addresses) groups.set(one.index, [...(groups.get(one.index) ?? []), one]);
  return new Map([...groups].map(([index, group]) => [index, subnetsFirst(group)]));
}
