// What a Service means to the datapath: frontends, policies, and the backends that may receive. Pure data.
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
  /** Every endpoint known, sorted by address and port. */
  readonly endpoints: readonly Endpoint[];
  /** Of these, the ones that new connections may choose from (S-34); [] when no frontend uses this list (S-12). */
  readonly clusterEndpoints: readonly Endpoint[];
  /** The same on this node, for traffic that a policy keeps here (S-35). */
  readonly localEndpoints: readonly Endpoint[];
  readonly anyEndpoint: boolean; // S-36
  readonly internalLocal: boolean; // S-10
  readonly externalLocal: boolean; // S-11
  /** CIDRs from which load balancer addresses may be dialled, and [] when from everywhere (S-61). */
  readonly allow: readonly string[];
  /** CIDRs from which nothing but the cluster address may be dialled. */
  readonly deny: readonly string[];
  readonly affinitySec: number; // 0: none (S-14)
  readonly socketHooks: boolean; // false: packets alone are steered, sockets left as they are
}

export interface NodeIdentity {
  readonly name: string; // lower case (S-110)
  readonly zone: string; // "" unknown
  readonly addresses: readonly string[]; // canonical text (S-112)
}

/** What must be known of this host besides its Services. */
export interface HostFacts {
  readonly addresses: readonly HostAddress[];
  readonly devices: readonly HostDevice[];
  readonly podRanges: readonly string[]; // CIDRs; [] when devices tell who is a pod
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
  readonly netns: number; // id of the network namespace behind it; -1: none of a pod
  readonly bridge: number; // ifindex of the bridge that it is a port of; 0: none
  readonly rpFilter: number; // for IPv4 sources, as the kernel's: 0 off, 1 strict, 2 loose
  readonly rpFilter6: number; // the same for IPv6 sources, of which the kernel has none
  readonly lower: number; // ifindex of the device that shows first what comes in by this one, as a VLAN's does; 0: none
  readonly vlan: number; // id of the VLAN whose tag it then has; 0: none
}
