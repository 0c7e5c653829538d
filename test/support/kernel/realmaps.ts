// The maps of the datapath, in the kernel but without programs and pins: gone when they are closed.
import { native, type BpfMap } from '../../../native/index.ts';
import { maps as definitions, type MapName } from '../../../src/abi/layout.gen.ts';

/** For planes over such maps. */
export const lifetimes = {
  tcpSynSec: 60,
  tcpIdleSec: 86_400,
  tcpHalfClosedSec: 3_600,
  tcpClosedSec: 10,
  udpNewSec: 30,
  udpIdleSec: 180,
};
export const limits = { services: 64, backends: 256, flows: 4096, halfOpenFlows: 4096, sockets: 1_024 };

export type RealMaps = Readonly<Record<MapName, BpfMap>>;

export function createMaps(sizes: Partial<Record<MapName, number>> = {}): RealMaps {
  const made = Object.values(definitions).map(({ name, typeId, keySize, valueSize, maxEntries, flags }) => {
    const rows = sizes[name] ?? maxEntries;
    const map = native().createMap({ type: typeId, name, keySize, valueSize, maxEntries: rows, flags });
    return [name, map] as const;
  });
  return Object.fromEntries(made) as unknown as RealMaps;
}

export function closeMaps(maps: RealMaps): void {
  for (const map of Object.values(maps)) map.close();
}
