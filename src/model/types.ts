// What a Service means to the datapath: frontends and the backends that may receive. Pure data.
import type { Family, Protocol } from '../source/objects.ts';

export type FrontendKind = 'ClusterIP' | 'ExternalIP' | 'LoadBalancer' | 'NodePort';

export interface Frontend {
  readonly kind: FrontendKind;
  readonly address: string; // canonical text
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

/** One entry of spec.ports in one family (S-8): the unit that has an id, counters and a backend set. */
export interface ServicePort {
  readonly key: string; // namespace/name:portName/PROTOCOL/IPv4|IPv6 – unique, stable
  readonly namespace: string;
  readonly name: string;
  readonly portName: string;
  readonly protocol: Protocol;
  readonly family: Family;
  readonly port: number;
  readonly frontends: readonly Frontend[];
  /** Every endpoint known, for display. */
  readonly endpoints: readonly Endpoint[];
  /** Those that new connections may choose from, sorted by address and port (S-34). */
  readonly selected: readonly Endpoint[];
  readonly anyEndpoint: boolean; // S-36
  readonly affinitySec: number;
}

export interface NodeIdentity {
  readonly name: string; // lower case (S-110)
  readonly zone: string; // "" unknown
}
