// One Service and its slices → its service ports, one for each port and family (S-8, S-9).
import type { Family } from '../net/ip.ts';
import type { EndpointSliceObject, ServiceObject, ServicePortSpec } from '../source/objects.ts';
import { isForeign } from '../source/parse/meta.ts';
import { candidatesOf, clusterList, hasAnyEndpoint, localList, type Candidate } from './endpoints.ts';
import {
  addressesIn,
  frontendsOf,
  hasExternalFrontend,
  isExternallyAccessible,
  isProxied,
  type Addresses,
} from './frontends.ts';
import { allowedSources, rangesIn } from './ranges.ts';
import type { Endpoint, NodeIdentity, ServicePort } from './types.ts';

const families: readonly Family[] = [4, 6];

/** [] for a Service that is not proxied, so that the transitions of S-2 and S-3 are ordinary differences. */
export function buildServicePorts(
  service: ServiceObject | undefined,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): readonly ServicePort[] {
  if (service === undefined || isForeign(service.meta) || !isProxied(service)) return [];
  const own = ownSlices(slices);
  const built = new Map<string, ServicePort>();
  for (const family of families) {
    const addresses = addressesIn(service, family);
    if (addresses === undefined) continue;
    const common = commonOf(service, family, addresses, node);
    for (const spec of service.ports) {
      const made = buildPort(common, spec, own, node);
      if (!built.has(made.key)) built.set(made.key, made); // the API refuses duplicates; a manifest may have them
    }
  }
  return [...built.values()];
}

/** Without slices that have a label for another proxy (S-2). */
export function ownSlices(slices: readonly EndpointSliceObject[]): readonly EndpointSliceObject[] {
  return slices.some((slice) => isForeign(slice.meta))
    ? slices.filter((slice) => !isForeign(slice.meta))
    : slices;
}

/** What all ports of a Service have in common in one family. */
interface Common extends Pick<ServicePort, 'internalLocal' | 'externalLocal' | 'allow' | 'deny'> {
  readonly service: ServiceObject;
  readonly family: Family;
  readonly addresses: Addresses;
}

function commonOf(service: ServiceObject, family: Family, addresses: Addresses, node: NodeIdentity): Common {
  const { loadBalancer } = addresses;
  return {
    service,
    family,
    addresses,
    internalLocal: service.internalTrafficPolicy === 'Local',
    externalLocal: service.externalTrafficPolicy === 'Local' && isExternallyAccessible(service),
    allow: allowedSources(service.loadBalancerSourceRanges, family, loadBalancer, node.addresses),
    deny: rangesIn(service.deniedSourceRanges, family),
  };
}

function buildPort(
  common: Common,
  spec: ServicePortSpec,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): ServicePort {
  const { service, family, internalLocal, externalLocal } = common;
  const { namespace, name } = service.meta;
  const { name: portName, protocol, port } = spec;
  const candidates = candidatesOf(slices, { portName, protocol, family }, node);
  const endpoints = candidates.map(endpointOf);
  // Most lists have all endpoints: then one array serves for all.
  const listOf = (chosen: readonly Candidate[]): readonly Endpoint[] =>
    chosen.length === candidates.length ? endpoints : chosen.map(endpointOf);
  const frontends = frontendsOf(common.addresses, spec, family);
  const external = hasExternalFrontend(frontends);
  // Node-internal traffic to external frontends needs the cluster list, whatever the policies say (S-12, S-40).
  const usesCluster = !internalLocal || external;
  const usesLocal = internalLocal || (externalLocal && external);
  return {
    key: `${namespace}/${name}:${portName}/${protocol}/IPv${family}`,
    namespace,
    name,
    portName,
    protocol,
    family,
    port,
    frontends,
    endpoints,
    clusterEndpoints: usesCluster ? listOf(clusterList(candidates, node)) : none,
    localEndpoints: usesLocal ? listOf(localList(candidates)) : none,
    anyEndpoint: hasAnyEndpoint(candidates),
    internalLocal,
    externalLocal,
    allow: common.allow,
    deny: common.deny,
    affinitySec: service.affinitySec,
    socketHooks: service.socketHooks,
  };
}

const none: readonly Endpoint[] = [];

function endpointOf(candidate: Candidate): Endpoint {
  return candidate.endpoint;
}
