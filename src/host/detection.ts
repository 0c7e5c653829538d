// Tells packets of pods (S-76): by the device they come in by, or by their source address. Pure.
import type { NetDevice } from '../../native/index.ts';
import { canonicalCidr, cidrFamily } from '../net/cidr.ts';
import { familyOf } from '../net/ip.ts';
import type { DeviceRole } from '../model/types.ts';
import { isGlobal, type Network } from './network.ts';
import type { Detection, Role, Roles } from './roles.ts';

export interface Pods {
  /** Sources that count as pods at every device. */
  readonly ranges: readonly string[];
  readonly roleOf: (device: NetDevice) => DeviceRole;
  /** What of the options cannot be met. */
  readonly notes: readonly string[];
}

/** `podCidrs` are those of the Node object. */
export function findPods(
  detection: Detection,
  network: Network,
  roles: Roles,
  podCidrs: readonly string[],
): Pods {
  switch (detection.mode) {
    case 'Device':
      return { ranges: [], roleOf: byDevice(roles), notes: [] };
    case 'ClusterCIDR':
      return byAddress(detection.ranges, '--cluster-cidr', network, roles);
    case 'NodeCIDR':
      return byAddress(podCidrs, 'spec.podCIDRs of the Node', network, roles);
    case 'BridgeInterface': {
      const bridge = network.devices.find(({ name }) => name === detection.bridge)?.index;
      const isPort = ({ index, master }: NetDevice): boolean =>
        bridge !== undefined && (index === bridge || master === bridge);
      const notes =
        bridge === undefined
          ? [`--pod-bridge-interface: there is no bridge ${detection.bridge}: no packet counts as a pod's`]
          : [];
      return { ranges: [], roleOf: only(roles, isPort), notes };
    }
    case 'InterfaceNamePrefix':
      return { ranges: [], roleOf: only(roles, ({ name }) => name.startsWith(detection.prefix)), notes: [] };
  }
}

function only(roles: Roles, isPod: (device: NetDevice) => boolean): (device: NetDevice) => DeviceRole {
  return (device) => (roles.get(device.index) === 'host' ? 'host' : isPod(device) ? 'pod' : 'uplink');
}

const datapathRoles: Readonly<Record<Role, DeviceRole>> = {
  host: 'host',
  uplink: 'uplink',
  tunnel: 'uplink',
  pod: 'pod',
  other: 'pod',
};

function byDevice(roles: Roles): (device: NetDevice) => DeviceRole {
  return (device) => {
    const role = roles.get(device.index) ?? 'other';
    // Hardware becomes an uplink when it is up, and its first packet may come before its new row.
    return role === 'other' && device.physical ? 'uplink' : datapathRoles[role];
  };
}

/**
 * If every family of this node has a range, addresses alone decide, as in kube-proxy. Otherwise devices count too: a
 * pod of a family without a range would be taken for a client outside.
 */
function byAddress(texts: readonly string[], origin: string, network: Network, roles: Roles): Pods {
  const ranges = texts.flatMap((text) => canonicalCidr(text) ?? []);
  const families = new Set(network.addresses.filter(isGlobal).map(({ address }) => familyOf(address)));
  const missing = [...families].filter((family) => ranges.every((range) => cidrFamily(range) !== family));
  return {
    ranges,
    roleOf: missing.length === 0 ? only(roles, () => false) : byDevice(roles),
    notes: missing.map(
      (family) => `${origin} has no IPv${family} range: IPv${family} pods are told by their devices`,
    ),
  };
}
