// One Service and its slices → its service ports, one for each port and family (S-8, S-9).
import type { EndpointSliceObject, Family, ServiceObject, ServicePortSpec } from '../source/objects.ts';
import { isForeign } from '../source/parse/meta.ts';
import { candidatesOf, clusterList, hasAnyEndpoint, localList, type Candidate } from './endpoints.ts';
import { clusterAddress, frontendsOf, isProxied } from './frontends.ts';
import type { Endpoint, NodeIdentity, ServicePort } from './types.ts';

const families: readonly Family[] = [4, 6];

/** [] for whatever is not to be proxied: the transitions of S-2 and S-3 are then ordinary differences. */
export function buildServicePorts(
  service: ServiceObject | undefined,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): readonly ServicePort[] {
  if (service === undefined || isForeign(service.meta) || !isProxied(service)) return [];
  const own = slices.some((slice) => isForeign(slice.meta))
    ? slices.filter((slice) => !isForeign(slice.meta))
    : slices;
  const built = new Map<string, ServicePort>();
  for (const family of families) {
    const address = clusterAddress(service, family);
    if (address === undefined) continue;
    for (const port of service.ports) {
      const made = buildPort(service, port, family, address, own, node);
      if (!built.has(made.key)) built.set(made.key, made); // the API refuses twins, manifests written by hand may not
    }
  }
  return [...built.values()];
}

function buildPort(
  service: ServiceObject,
  port: ServicePortSpec,
  family: Family,
  clusterIp: string,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): ServicePort {
  const { namespace, name } = service.meta;
  const candidates = candidatesOf(slices, { portName: port.name, protocol: port.protocol, family }, node);
  const chosen =
    service.internalTrafficPolicy === 'Local' ? localList(candidates) : clusterList(candidates, node);
  const endpoints = candidates.map(endpointOf);
  return {
    key: `${namespace}/${name}:${port.name}/${port.protocol}/IPv${family}`,
    namespace,
    name,
    portName: port.name,
    protocol: port.protocol,
    family,
    port: port.port,
    frontends: frontendsOf(clusterIp, port),
    endpoints,
    selected: chosen.length === candidates.length ? endpoints : chosen.map(endpointOf),
    anyEndpoint: hasAnyEndpoint(candidates),
    affinitySec: service.affinitySec,
  };
}

function endpointOf(candidate: Candidate): Endpoint {
  return candidate.endpoint;
}
