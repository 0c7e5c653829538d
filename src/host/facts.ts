// What the datapath must know of this host: its addresses, its devices, and how pods are told. Pure.
import { canonicalAddress, familyOf } from '../model/ip.ts';
import type { HostDevice, HostFacts } from '../model/types.ts';
import type { Family } from '../source/objects.ts';
import { findPods, type Detection } from './detection.ts';
import { etherAddressOf, hasRow } from './ethernet.ts';
import { bestFirst } from './identity.ts';
import type { Network } from './network.ts';
import { placeNodePorts, type NodePortOptions } from './nodeports.ts';
import type { Roles } from './roles.ts';

export interface FactOptions {
  readonly detection: Detection;
  readonly nodePorts: NodePortOptions;
}

export interface Found {
  readonly facts: HostFacts;
  /** What is not as asked for. */
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
  const devices = network.devices.filter(hasRow).map((device): HostDevice => ({
    ifindex: device.index,
    addr4: sourceOf(device.index, 4),
    addr6: sourceOf(device.index, 6),
    mac: etherAddressOf(device),
    role: pods.roleOf(device),
    netns: device.peerNetns,
  }));
  return {
    facts: { addresses: places.addresses, devices, podRanges: pods.ranges },
    notes: [...places.notes, ...pods.notes],
  };
}

const ipvsDevice = 'kube-ipvs0';

/**
 * Every address at which the kernel answers (S-113). kube-ipvs0 is where kube-proxy's ipvs mode keeps cluster addresses, which
 * are not this node's. A link-local IPv6 address means something on one link only, which a row cannot say.
 */
function localAddresses({ devices, addresses }: Network): readonly string[] {
  const ipvs = devices.find(({ name }) => name === ipvsDevice)?.index;
  const texts = addresses
    .filter(({ index, address }) => index !== ipvs && !/^fe[89ab]/i.test(address))
    .flatMap(({ address }) => canonicalAddress(address) ?? []);
  return [...new Set(texts)].sort();
}

/** S-68: what a masqueraded packet that leaves by a device has as its source: the device's own address, else the node's. */
function sources(
  network: Network,
  roles: Roles,
  nodeAddresses: readonly string[],
): (ifindex: number, family: Family) => string | undefined {
  const { addresses } = network;
  const isOwn = (address: string): boolean => addresses.some((own) => own.address === address);
  // The Node object may tell addresses that a router translates: replies to them would not arrive.
  const shared = [
    ...nodeAddresses.filter(isOwn),
    ...bestFirst(addresses.filter(({ index }) => roles.get(index) === 'uplink')),
    ...bestFirst(addresses),
  ];
  return (ifindex, family) => {
    const own = bestFirst(addresses.filter(({ index }) => index === ifindex));
    return [...own, ...shared].find((address) => familyOf(address) === family);
  };
}
