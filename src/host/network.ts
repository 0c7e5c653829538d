// This machine's network as the kernel tells it: read at once, so that all who look see the same.
import { native, type NetAddress, type NetDevice } from '../../native/index.ts';

export interface Network {
  readonly devices: readonly NetDevice[];
  readonly addresses: readonly NetAddress[];
  readonly defaultRoutes: readonly number[]; // ifindexes
}

export function readNetwork(): Network {
  const kernel = native();
  return {
    devices: kernel.devices(),
    addresses: kernel.addresses(),
    defaultRoutes: kernel.defaultRouteDevices(),
  };
}

const scopeUniverse = 0; // RT_SCOPE_UNIVERSE: not link-local, not loopback

/** Of use beyond its own link. */
export function isGlobal({ scope }: NetAddress): boolean {
  return scope === scopeUniverse;
}
