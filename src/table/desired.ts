// What one service port wants in the kernel, before it has ids: pure, and the same on every agent.
import type { Endpoint, ServicePort } from '../model/types.ts';
import { anyEndpoint, draining, kindNumbers, protocolNumbers, ready, type FrontendRow } from './rows.ts';

export interface WantedBackend {
  readonly address: string;
  readonly port: number;
  readonly state: number;
}

/**
 * Sorted by address and port. Endpoints that serve without being chosen have a row too, so that UDP flows to them are
 * not moved (S-90); whoever has no row has lost its UDP flows, while TCP flows need none (S-89).
 */
export function wantedBackends(port: ServicePort): readonly WantedBackend[] {
  const selected = new Set<Endpoint>(port.selected);
  return port.endpoints.flatMap((endpoint) => {
    const chosen = selected.has(endpoint);
    if (!chosen && !endpoint.ready && !endpoint.serving) return [];
    return [{ address: endpoint.address, port: endpoint.port, state: chosen ? ready : draining }];
  });
}

export function wantedFrontends(port: ServicePort, service: number): readonly FrontendRow[] {
  const proto = protocolNumbers[port.protocol];
  return port.frontends.map((frontend) => ({
    address: frontend.address,
    port: frontend.port,
    proto,
    service,
    kind: kindNumbers[frontend.kind],
  }));
}

export function wantedFlags(port: ServicePort): number {
  return port.anyEndpoint ? anyEndpoint : 0;
}
