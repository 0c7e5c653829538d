// One Service and its slices → its service ports, one for each port and family (S-8, S-9).
import type { EndpointSliceObject, Family, ServiceObject, ServicePortSpec } from '../source/objects.ts';
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

/** [] for whatever is not to be proxied: the transitions of S-2 and S-3 are then ordinary differences. */
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
      if (!built.has(made.key)) built.set(made.key, made); // the API refuses twins, manifests written by hand may not
    }
  }
  return [...built.values()];
}

/** Slices carry the labels of their Service, and leave us with them (S-2). */
export function ownSlices(slices: readonly EndpointSliceObject[]): readonly EndpointSliceObject[] {
  return slices.some((slice) => isForeign(slice.meta))
    ? slices.filter((slice) => !isForeign(slice.meta))
    : slices;
}

/** What all ports of a Service have in common in one family. */
interface Common extends Pick<
  ServicePort,
  'namespace' | 'name' | 'family' | 'internalLocal' | 'externalLocal' | 'allow' | 'deny' | 'affinitySec'
> {
  readonly addresses: Addresses;
}

function commonOf(service: ServiceObject, family: Family, addresses: Addresses, node: NodeIdentity): Common {
  const { loadBalancer } = addresses;
  return {
    namespace: service.meta.namespace,
    name: service.meta.name,
    family,
    addresses,
    internalLocal: service.internalTrafficPolicy === 'Local',
    externalLocal: service.externalTrafficPolicy === 'Local' && isExternallyAccessible(service),
    allow: allowedSources(service.loadBalancerSourceRanges, family, loadBalancer, node.addresses),
    deny: rangesIn(service.deniedSourceRanges, family),
    affinitySec: service.affinitySec,
  };
}

function buildPort(
  { addresses, ...common }: Common,
  spec: ServicePortSpec,
  slices: readonly EndpointSliceObject[],
  node: NodeIdentity,
): ServicePort {
  const { namespace, name, family } = common;
  const { name: portName, protocol, port } = spec;
  const candidates = candidatesOf(slices, { portName, protocol, family }, node);
  const frontends = frontendsOf(addresses, spec, family);
  return {
    ...common,
    key: `${namespace}/${name}:${portName}/${protocol}/IPv${family}`,
    portName,
    protocol,
    port,
    frontends,
    ...listsOf(candidates, common, hasExternalFrontend(frontends), node),
    anyEndpoint: hasAnyEndpoint(candidates),
  };
}

type Lists = Pick<ServicePort, 'endpoints' | 'clusterEndpoints' | 'localEndpoints'>;

/** Node-internal traffic to external frontends needs the cluster list, whatever the policies say (S-12, S-40). */
function listsOf(
  candidates: readonly Candidate[],
  { internalLocal, externalLocal }: Pick<ServicePort, 'internalLocal' | 'externalLocal'>,
  external: boolean,
  node: NodeIdentity,
): Lists {
  const endpoints = candidates.map(endpointOf);
  // Most lists are all there is, and then they are one.
  const listOf = (chosen: readonly Candidate[]): readonly Endpoint[] =>
    chosen.length === candidates.length ? endpoints : chosen.map(endpointOf);
  return {
    endpoints,
    clusterEndpoints: !internalLocal || external ? listOf(clusterList(candidates, node)) : [],
    localEndpoints: internalLocal || (externalLocal && external) ? listOf(localList(candidates)) : [],
  };
}

function endpointOf(candidate: Candidate): Endpoint {
  return candidate.endpoint;
}
