// Names that earlier versions had for maps and for fields of their rows. A pin keeps its name, and a map the BTF that
// it was made with, so an agent that finds them has to know both.
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BpfMap } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import type { PinnedMaps } from './folders.ts';

const mapsByFormerName: Readonly<Record<string, MapName>> = {
  slb_events: 'slb_counters',
  slb_parked: 'slb_queued',
  slb_parking: 'slb_queue_row',
  slb_parking_key: 'slb_queue_key',
  slb_scratch: 'slb_icmp_quote',
  slb_split: 'slb_oversize',
};

const fieldsByFormerName: Readonly<Record<string, string>> = {
  way: 'forward',
  peer_way: 'peer_forward',
  split: 'by_stack',
};

/** Of a field, whichever version named it. */
export const fieldName = (name: string): string => fieldsByFormerName[name] ?? name;

/** Gives pins their names of today: each in one step, so an agent that dies in between has done part of it. */
export function renamePins({ folder, maps }: PinnedMaps): Map<string, BpfMap> {
  const renamed = new Map(maps);
  for (const [former, map] of maps) {
    const name = mapsByFormerName[former];
    if (name === undefined) continue;
    renamed.delete(former);
    // Both names: the earlier version has run since, and counted anew.
    if (maps.has(name)) {
      map.close();
      rmSync(join(folder, former), { force: true });
    } else {
      renameSync(join(folder, former), join(folder, name));
      renamed.set(name, map);
    }
  }
  return renamed;
}
