// The rows that a service port should have, before it has ids. Pure, and the same on every node.
import type { Endpoint, ServicePort } from '../model/types.ts';
import {
  kindNumbers,
  lists,
  protocolNumbers,
  rangeKinds,
  serviceFlags,
  type FrontendRow,
  type RangeRow,
} from './rows.ts';

export interface WantedBackend {
  readonly address: string;
  readonly port: number;
  readonly lists: number;
}

/**
 * Sorted by address and port. Endpoints that serve without being chosen have a row too, so that UDP flows to them are
 * not moved (S-90); a backend without a row has lost its UDP flows, while TCP flows need none (S-89).
 */
export function wantedBackends(port: ServicePort): readonly WantedBackend[] {
  const inCluster = follower(port.clusterEndpoints);
  const inLocal = follower(port.localEndpoints);
  const wanted: WantedBackend[] = [];
  for (const endpoint of port.endpoints) {
    const { address, port: number, ready, serving } = endpoint;
    const member = (inCluster(endpoint) ? lists.cluster : 0) | (inLocal(endpoint) ? lists.local : 0);
    if (member !== 0 || ready || serving) wanted.push({ address, port: number, lists: member });
  }
  return wanted;
}

/** Tests membership in a list. Must be called with all endpoints in order: the list has the same order. */
function follower(list: readonly Endpoint[]): (endpoint: Endpoint) => boolean {
  let next = 0;
  return (endpoint) => {
    if (list[next] !== endpoint) return false;
    next++;
    return true;
  };
}

export function wantedFrontends(port: ServicePort, service: number): readonly FrontendRow[] {
  const proto = protocolNumbers[port.protocol];
  return port.frontends.map((frontend) => ({
    address: frontend.address,
    port: frontend.port,
    proto,
    service,
    kind: kindNumbers[frontend.kind],
    flags: 0,
  }));
}

export function wantedRanges(port: ServicePort, service: number): readonly RangeRow[] {
  const { allow, deny } = port;
  if (allow.length + deny.length === 0) return [];
  return [
    ...allow.map((range) => ({ kind: rangeKinds.allow, service, range })),
    ...deny.map((range) => ({ kind: rangeKinds.deny, service, range })),
  ];
}

export function wantedFlags(port: ServicePort): number {
  const { anyEndpoint, internalLocal, externalLocal, allow, deny, socketHooks } = port;
  return (
    (anyEndpoint ? serviceFlags.anyEndpoint : 0) |
    (internalLocal ? serviceFlags.internalLocal : 0) |
    (externalLocal ? serviceFlags.externalLocal : 0) |
    (allow.length > 0 ? serviceFlags.allow : 0) |
    (deny.length > 0 ? serviceFlags.deny : 0) |
    (socketHooks ? 0 : serviceFlags.packetsOnly)
  );
}
