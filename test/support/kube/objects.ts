// Short ways to write the objects that a source hands over.
import { type Family, familyOf } from '../../../src/net/ip.ts';
import type {
  EndpointObject,
  EndpointSliceObject,
  NodeObject,
  ObjectMeta,
  ServiceObject,
} from '../../../src/source/objects.ts';

export function meta(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  namespace = 'default',
): ObjectMeta {
  return { namespace, name, uid: `uid-${name}`, labels, annotations: {} };
}

export function service(
  name: string,
  clusterIPs: readonly string[],
  more: Partial<ServiceObject> = {},
): ServiceObject {
  const ipFamilies = clusterIPs.map((ip): Family => familyOf(ip));
  return {
    kind: 'Service',
    meta: meta(name),
    type: 'ClusterIP',
    clusterIPs,
    ipFamilies,
    externalIPs: [],
    loadBalancerIPs: [],
    loadBalancerSourceRanges: [],
    deniedSourceRanges: [],
    socketHooks: true,
    ports: [{ name: '', protocol: 'TCP', port: 80, nodePort: 0 }],
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    affinitySec: 0,
    healthCheckNodePort: 0,
    ...more,
  };
}

export function endpoint(address: string, more: Partial<EndpointObject> = {}): EndpointObject {
  return {
    addresses: [address],
    ready: true,
    serving: true,
    terminating: false,
    nodeName: undefined,
    zoneHints: [],
    nodeHints: [],
    ...more,
  };
}

export function slice(
  name: string,
  serviceName: string,
  endpoints: readonly (string | EndpointObject)[],
  more: Partial<EndpointSliceObject> = {},
): EndpointSliceObject {
  const list = endpoints.map((one) => (typeof one === 'string' ? endpoint(one) : one));
  return {
    kind: 'EndpointSlice',
    meta: meta(name),
    serviceName,
    addressType: list[0]?.addresses[0]?.includes(':') === true ? 'IPv6' : 'IPv4',
    endpoints: list,
    ports: [{ name: '', protocol: 'TCP', port: 8080 }],
    ...more,
  };
}

export function node(name: string, labels: Readonly<Record<string, string>> = {}): NodeObject {
  return {
    kind: 'Node',
    meta: { ...meta(name, labels), namespace: '' },
    addresses: [],
    podCIDRs: [],
    taints: [],
    deleting: false,
  };
}
