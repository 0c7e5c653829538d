// Reports on a Service: its local endpoints for the health checks of load balancers (S-91 … S-95), and whether traffic
// is dropped because it has none (S-50).
import type { Family } from '../net/ip.ts';
import type { EndpointSliceObject, ServiceObject } from '../source/objects.ts';
import { ownSlices } from './build.ts';
import { candidatesOf } from './endpoints.ts';
import { clusterAddress, hasExternalFrontend, isProxied } from './frontends.ts';
import { isForeign } from '../source/parse/meta.ts';
import type { NodeIdentity, ServicePort } from './types.ts';

export interface HealthCheck {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /**
   * Number of ready addresses on this node, by family. Terminating ones do not count, though they are still served
   * (S-93). A family without a ClusterIP is missing (S-9).
   */
  readonly localEndpoints: { readonly 4?: number; readonly 6?: number };
}

/** Undefined for a Service whose healthCheckNodePort is not used (S-13). */
export function healthChecksOf(
  service: ServiceObject | undefined,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): HealthCheck | undefined {
  if (service === undefined || !isProxied(service) || isForeign(service.meta)) return undefined;
  const { type, externalTrafficPolicy, healthCheckNodePort: port, meta } = service;
  if (type !== 'LoadBalancer' || externalTrafficPolicy !== 'Local' || port === 0) return undefined;
  const own = ownSlices(slices);
  const localEndpoints: { 4?: number; 6?: number } = {};
  for (const family of [4, 6] as const) {
    if (clusterAddress(service, family) !== undefined)
      localEndpoints[family] = countLocal(service, own, family, node);
  }
  return { namespace: meta.namespace, name: meta.name, port, localEndpoints };
}

/** An address counts once, however many ports it serves (S-93). */
function countLocal(
  service: ServiceObject,
  slices: readonly EndpointSliceObject[],
  family: Family,
  node: NodeIdentity,
): number {
  const found = new Set<string>();
  for (const { name: portName, protocol } of service.ports) {
    for (const { endpoint } of candidatesOf(slices, { portName, protocol, family }, node))
      if (endpoint.local && endpoint.ready) found.add(endpoint.address);
  }
  return found.size;
}

export interface NoLocalEndpoints {
  readonly internal: boolean;
  readonly external: boolean;
}

/** Which traffic to this service port is dropped because all its endpoints are on other nodes (S-43, S-50). */
export function noLocalEndpoints(port: ServicePort): NoLocalEndpoints {
  const noneHere = port.anyEndpoint && port.localEndpoints.length === 0;
  return {
    internal: noneHere && port.internalLocal,
    external: noneHere && port.externalLocal && hasExternalFrontend(port.frontends),
  };
}
