// A Service as the data path needs it: frontends, policies and endpoints. Pure data.
import type { Family } from '../net/ip.ts';
import type { Protocol } from '../source/objects.ts';

export type FrontendKind = 'ClusterIP' | 'ExternalIP' | 'LoadBalancer' | 'NodePort';

export interface Frontend {
  readonly kind: FrontendKind;
  readonly address: string; // canonical text; 0.0.0.0 or :: for a NodePort, which is at every address of the node
  readonly port: number;
}

export interface Endpoint {
  readonly address: string; // canonical text
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly local: boolean;
}

/** One entry of spec.ports in one family (S-8): the unit that has an id, counters and backend sets. */
export interface ServicePort {
  readonly key: string; // namespace/name:portName/PROTOCOL/IPv4|IPv6 – unique, stable
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly protocol: Protocol;
  readonly family: Family;
  readonly port: number;
  readonly frontends: readonly Frontend[];
  /** All endpoints, sorted by address and port. */
  readonly endpoints: readonly Endpoint[];
  /** The endpoints that new connections choose from (S-34); [] when no frontend uses this list (S-12). */
  readonly clusterEndpoints: readonly Endpoint[];
  /** The same on this node, for traffic with a Local policy (S-35). */
  readonly localEndpoints: readonly Endpoint[];
  readonly anyEndpoint: boolean; // S-36
  readonly internalLocal: boolean; // S-10
  readonly externalLocal: boolean; // S-11
  /** CIDRs that may connect to load balancer IPs; [] for all (S-61). */
  readonly allow: readonly string[];
  /** CIDRs that may connect to the ClusterIP only. */
  readonly deny: readonly string[];
  readonly affinitySec: number; // 0: none (S-14)
  readonly socketHooks: boolean; // false: translated per packet, not at the socket
}

export interface NodeIdentity {
  readonly name: string; // lower case (S-110)
  readonly zone: string; // "" unknown
  readonly addresses: readonly string[]; // canonical text (S-112)
}

/** What the data path must know of this host. */
export interface HostFacts {
  readonly addresses: readonly HostAddress[];
  readonly devices: readonly HostDevice[];
  readonly podRanges: readonly string[]; // CIDRs; [] when pods are told by their devices
}

export interface HostAddress {
  readonly address: string;
  readonly nodePort: boolean; // NodePorts answer at it (S-56)
  readonly loopback: boolean; // for this host's own packets only (S-57)
}

export type DeviceRole = 'pod' | 'uplink' | 'host';

export interface HostDevice {
  readonly ifindex: number;
  readonly addr4: string | undefined; // source of masqueraded packets that leave by it
  readonly addr6: string | undefined;
  readonly mac: string; // of Ethernet, 02:00:00:00:00:01; "" without one
  readonly role: DeviceRole;
  readonly netns: number; // id of the network namespace of its peer; -1: none
  readonly bridge: number; // ifindex of the bridge that it is a port of; 0: none
  readonly rpFilter: number; // for IPv4 sources, as the kernel's: 0 off, 1 strict, 2 loose
  readonly rpFilter6: number; // the same for IPv6 sources, for which the kernel has no setting
  readonly lower: number; // ifindex of the device at which its packets are seen first, such as that of a VLAN; 0: none
  readonly vlan: number; // id of the VLAN whose tag it then has; 0: none
}
