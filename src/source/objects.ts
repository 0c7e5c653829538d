// The Kubernetes objects that both sources deliver, as plain read-only data narrowed to the fields that are used.
import type { Family } from '../net/ip.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

export interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface ServicePortSpec {
  readonly name: string; // "" when unnamed
  readonly protocol: Protocol;
  readonly port: number;
  readonly nodePort: number; // 0: none
}

export interface ServiceObject {
  readonly kind: 'Service';
  readonly meta: ObjectMeta;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  readonly clusterIPs: readonly string[]; // text as in the object; [] or ["None"] when headless
  readonly ipFamilies: readonly Family[];
  readonly externalIPs: readonly string[];
  readonly loadBalancerIPs: readonly string[]; // status.loadBalancer.ingress with ip and ipMode VIP (S-16)
  readonly loadBalancerSourceRanges: readonly string[]; // CIDRs; host bits may be set (S-15)
  readonly deniedSourceRanges: readonly string[]; // CIDRs of our annotation
  readonly socketHooks: boolean; // false: our annotation leaves it to the packet path
  readonly ports: readonly ServicePortSpec[];
  readonly internalTrafficPolicy: 'Cluster' | 'Local';
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly affinitySec: number; // 0: none
  readonly healthCheckNodePort: number; // 0: none
}

export interface EndpointObject {
  readonly addresses: readonly string[];
  readonly ready: boolean; // defaults applied (S-26)
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly nodeName: string | undefined;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

export interface EndpointPort {
  readonly name: string; // "" when unnamed
  readonly protocol: Protocol;
  readonly port: number;
}

export interface EndpointSliceObject {
  readonly kind: 'EndpointSlice';
  readonly meta: ObjectMeta;
  readonly serviceName: string; // label kubernetes.io/service-name; "" when absent (S-21)
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints: readonly EndpointObject[];
  readonly ports: readonly EndpointPort[];
}

export interface NodeObject {
  readonly kind: 'Node';
  readonly meta: ObjectMeta;
  readonly addresses: readonly { readonly type: string; readonly address: string }[];
  readonly podCIDRs: readonly string[]; // [] when pod addresses are not assigned per node
  readonly taints: readonly string[]; // keys
  readonly deleting: boolean;
}

/** Whether processes of these want socket hooks; undefined when nothing is said. */
export interface NamespaceObject {
  readonly kind: 'Namespace';
  readonly meta: ObjectMeta; // without labels and annotations: there are many of them, and we know what they say
  readonly socketHooks: boolean | undefined;
}

export interface PodObject {
  readonly kind: 'Pod';
  readonly meta: ObjectMeta; // as of a NamespaceObject
  readonly nodeName: string | undefined; // undefined: the server has sent only those of this node
  readonly cgroupUid: string; // by which the kubelet names its cgroup
  readonly socketHooks: boolean | undefined;
  readonly mesh: string | undefined; // service mesh whose proxy intercepts its traffic
}

export type SourceObject = ServiceObject | EndpointSliceObject | NodeObject | NamespaceObject | PodObject;
export type SourceKind = SourceObject['kind'];

/**
 * A put replaces the object of the same kind, namespace and name. A re-created object (new uid) comes as del and put.
 */
export type Change =
  | { readonly op: 'put'; readonly object: SourceObject }
  | { readonly op: 'del'; readonly kind: SourceKind; readonly namespace: string; readonly name: string };

export interface SourceProblem {
  readonly where: string; // file:line, or object
  readonly field: string;
  readonly message: string;
  /** Not about an object: a request to the API server fails. Known objects stay in force. */
  readonly failing?: boolean;
  /** namespace/name of the Service concerned, if there is one. */
  readonly service?: string;
}

/** What a source calls. The calls do not throw. */
export interface SourceSink {
  /** Changes that came together: all are stored before anything is computed from them. */
  changes(batch: readonly Change[]): void;
  /** Everything that existed at start has been delivered. Called once. */
  synced(): void;
  /** All current problems, in place of those reported before. [] when there are none. */
  problems(list: readonly SourceProblem[]): void;
}

/** A Kubernetes Event about an object, as `kubectl describe` shows it. */
export interface ObjectEvent {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string; // one CamelCase word
  readonly action: string; // what was being done
  readonly note: string;
  readonly regarding: {
    readonly kind: 'Node' | 'Service';
    readonly namespace: string; // "" for a Node
    readonly name: string;
    readonly uid: string;
  };
}

export interface Source {
  /** e.g. "manifests /etc/sluice" or "kube https://…" – for status. */
  readonly description: string;
  /** Rejects when the source cannot start: no such directory or kubeconfig. Called before the kernel is changed. */
  check(): Promise<void>;
  start(sink: SourceSink): Promise<void>;
  stop(): Promise<void>;
  /** Creates the Event in the API server. Does nothing for sources without one. */
  record(event: ObjectEvent): void;
}
