// The endpoints of one service port, merged from its slices (S-22 … S-30), and the lists that new connections choose
// from (S-34 … S-36).
import type { EndpointObject, EndpointSliceObject, Protocol } from '../source/objects.ts';
import { canonicalAddress, familyOf, type Family } from '../net/ip.ts';
import { withinTopology } from './topology.ts';
import type { Endpoint, NodeIdentity } from './types.ts';

/** An endpoint with the API object that it comes from. */
export interface Candidate {
  readonly endpoint: Endpoint;
  readonly object: EndpointObject;
}

export interface PortIdentity {
  readonly portName: string;
  readonly protocol: Protocol;
  readonly family: Family;
}

/** Sorted by address and port, without duplicates: the result does not depend on the order of slices. */
export function candidatesOf(
  slices: readonly EndpointSliceObject[],
  port: PortIdentity,
  node: NodeIdentity,
): readonly Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== `IPv${port.family}`) continue; // S-22
    for (const { name, protocol, port: number } of slice.ports) {
      if (name !== port.portName || protocol !== port.protocol) continue; // S-24
      for (const object of slice.endpoints) addCandidate(found, object, number, port.family, node);
    }
  }
  return [...found.values()].sort((a, b) => compareEndpoints(a.endpoint, b.endpoint));
}

function addCandidate(
  found: Map<string, Candidate>,
  object: EndpointObject,
  port: number,
  family: Family,
  node: NodeIdentity,
): void {
  const address = object.addresses[0] === undefined ? undefined : canonicalAddress(object.addresses[0]); // S-25
  if (address === undefined || familyOf(address) !== family) return;
  const { ready, serving, terminating } = object;
  const local = object.nodeName !== undefined && object.nodeName === node.name; // S-27
  const endpoint: Endpoint = { address, port, ready, serving, terminating, local };
  const key = `${address} ${port}`;
  const known = found.get(key);
  const candidate = { endpoint, object };
  // One address in two slices is one endpoint (S-28).
  if (known === undefined || comparePreference(candidate, known) < 0) found.set(key, candidate);
}

/**
 * Which of two entries for one address and port is used: a live one before a terminating one, then the local one, as in
 * kube-proxy. Ties are broken by content, not by names or order of slices, so that all nodes agree.
 */
function comparePreference(a: Candidate, b: Candidate): number {
  return (
    liveness(b.endpoint) - liveness(a.endpoint) ||
    Number(b.endpoint.local) - Number(a.endpoint.local) ||
    compareText(contentOf(a.object), contentOf(b.object))
  );
}

function contentOf({ nodeName, ready, serving, nodeHints, zoneHints }: EndpointObject): string {
  return JSON.stringify([nodeName ?? '', ready, serving, nodeHints, zoneHints]);
}

function liveness(endpoint: Endpoint): number {
  if (endpoint.terminating) return endpoint.serving ? 1 : 0;
  return endpoint.ready ? 3 : 2;
}

/** Text order is not numeric order, but it is the same on every node. */
export function compareEndpoints(a: Endpoint, b: Endpoint): number {
  return compareText(a.address, b.address) || a.port - b.port;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The ready endpoints within topology; if none is ready, all that still serve while terminating (S-34; KEP-1669). */
export function clusterList(all: readonly Candidate[], node: NodeIdentity): readonly Candidate[] {
  const ready = all.filter(isReady);
  return ready.length > 0 ? withinTopology(ready, node) : all.filter(isServingToTheEnd);
}

/** The same among the endpoints of this node, without topology hints (S-35). */
export function localList(all: readonly Candidate[]): readonly Candidate[] {
  const local = all.filter((candidate) => candidate.endpoint.local);
  const ready = local.filter(isReady);
  return ready.length > 0 ? ready : local.filter(isServingToTheEnd);
}

/** With an empty list: whether packets are dropped (endpoints exist elsewhere) or rejected (S-36). */
export function hasAnyEndpoint(all: readonly Candidate[]): boolean {
  return all.some((candidate) => isReady(candidate) || isServingToTheEnd(candidate));
}

function isReady({ endpoint }: Candidate): boolean {
  return endpoint.ready;
}

function isServingToTheEnd({ endpoint }: Candidate): boolean {
  return endpoint.serving && endpoint.terminating;
}
