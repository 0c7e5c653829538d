// Roles of devices: uplink, tunnel, pod device, loopback. Pure.
import type { NetDevice } from '../../native/index.ts';
import { isLoopbackDevice } from './ethernet.ts';
import { isGlobal, type Network } from './network.ts';
import { compile } from './patterns.ts';

/**
 * uplink: leads out of this node. tunnel: leads to other nodes by encapsulation. pod: the peer is in another network
 * namespace, or an option says so. host: loopback.
 */
export type Role = 'uplink' | 'tunnel' | 'pod' | 'host' | 'other';

export type Roles = ReadonlyMap<number, Role>; // by ifindex

/** How packets of pods are told from others (S-76). */
export type Detection =
  | { readonly mode: 'Device' }
  | { readonly mode: 'ClusterCIDR'; readonly ranges: readonly string[] }
  | { readonly mode: 'NodeCIDR' }
  | { readonly mode: 'BridgeInterface'; readonly bridge: string }
  | { readonly mode: 'InterfaceNamePrefix'; readonly prefix: string };

export interface RoleOptions {
  readonly uplinks: readonly string[]; // patterns of more uplinks; those with ! exclude
  readonly detection: Detection;
}

const tunnelKinds = new Set([
  ...['vxlan', 'geneve', 'gretap', 'ip6gretap', 'erspan', 'ip6erspan', 'bareudp'],
  ...['wireguard', 'xfrm', 'vti', 'vti6', 'ipip', 'gre', 'ip6gre', 'sit', 'ip6tnl'],
]);
const podKinds = new Set(['veth', 'netkit']);
/** Software devices over hardware: uplinks as their lower device, once they have an address. */
const stackedKinds = new Set(['vlan', 'macvlan', 'ipvlan', 'bond', 'team']);

export function rolesOf(network: Network, options: RoleOptions): Roles {
  const isUplink = uplinkTest(network, options.uplinks);
  const isPod = podTest(network, options.detection);
  const roleOf = (device: NetDevice): Role => {
    if (isLoopbackDevice(device)) return 'host';
    if (isUplink(device)) return 'uplink';
    if (tunnelKinds.has(device.kind)) return 'tunnel';
    return isPod(device) ? 'pod' : 'other';
  };
  return new Map(network.devices.map((device) => [device.index, roleOf(device)]));
}

function uplinkTest(network: Network, uplinks: readonly string[]): (device: NetDevice) => boolean {
  const named = compile(uplinks);
  const routed = new Set(network.defaultRoutes);
  const addressed = new Set(network.addresses.filter(isGlobal).map(({ index }) => index));
  const byIndex = new Map(network.devices.map((device) => [device.index, device]));
  /** Whether a lower device is hardware, up to `depth` layers down: an inconsistent dump could have a loop. */
  const onHardware = (device: NetDevice, depth = 4): boolean => {
    if (device.physical) return true;
    if (depth === 0 || !stackedKinds.has(device.kind)) return false;
    const below = network.devices.filter(
      ({ index, master }) => index === device.lower || master === device.index,
    );
    return below.some((one) => onHardware(byIndex.get(one.index) ?? one, depth - 1));
  };
  return (device) => {
    if (named.excludes(device.name)) return false;
    if (named.includes(device.name) || routed.has(device.index)) return true;
    // A port of a bond or bridge is not an uplink: its packets are seen at the master.
    if (!device.up || device.master !== 0) return false;
    return device.physical || (addressed.has(device.index) && onHardware(device));
  };
}

function podTest({ devices }: Network, detection: Detection): (device: NetDevice) => boolean {
  const bridge = detection.mode === 'BridgeInterface' ? detection.bridge : undefined;
  const master = devices.find(({ name }) => name === bridge)?.index;
  return (device) => {
    if (podKinds.has(device.kind) && device.peerNetns >= 0) return true;
    if (detection.mode === 'InterfaceNamePrefix') return device.name.startsWith(detection.prefix);
    return master !== undefined && device.master === master;
  };
}
