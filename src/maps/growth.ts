// How large the tables have to be that the state of the cluster fills: small at first, and more when that is used. Pure.
import { slbLimits, type MapName } from '../abi/layout.gen.ts';
import type { TableState } from '../table/state.ts';
import { nearlyFull } from './sizes.ts';

export type Sizes = Readonly<Partial<Record<MapName, number>>>;

export interface Growth {
  /** What each map may grow to. */
  readonly bounds: Sizes;
  /** Puts maps of these sizes in the place of those in `maps`, with all that is in them. Throws when they cannot be had, or when `stopping` says so; then all is as before. */
  readonly grow: (sizes: Sizes, stopping: AbortSignal) => Promise<void>;
}

/** Rows of a table. */
export interface Need {
  readonly used: number;
  /** So many rows it must have: one more than the last that is in use. */
  readonly end: number;
}

/** What the state asks of each table that can grow; more than the kernel has, until that follows. */
export function needsOf(state: TableState): Readonly<Partial<Record<MapName, Need>>> {
  const { serviceIds, backendIds, setRows, slotRows, tables, frontends } = state;
  const positions = ({ used, end }: Need): Need => ({
    used: Math.ceil(used / slbLimits.MAGLEV_PER_ROW),
    end: Math.ceil(end / slbLimits.MAGLEV_PER_ROW),
  });
  return {
    slb_frontends: { used: frontends.used, end: frontends.used },
    slb_services: serviceIds,
    slb_svc_stats: serviceIds,
    slb_sets: setRows,
    slb_backends: backendIds,
    slb_be_stats: backendIds,
    slb_slots: slotRows,
    slb_maglev: positions(tables.ranges),
  };
}

/**
 * The sizes of the tables that have to grow; undefined while there is room in all of them. `shareOf`: by how much more than now is in
 * them is known to come. None grows alone: the programs are loaded anew for one as for all.
 */
export function grownSizes(
  needs: ReturnType<typeof needsOf>,
  sizeOf: (name: MapName) => number,
  bounds: Sizes,
  shareOf: () => number = () => 1,
): Sizes | undefined {
  const names = (Object.keys(needs) as MapName[]).filter((name) => sizeOf(name) < (bounds[name] ?? 0));
  const isShort = (name: MapName): boolean => {
    const { used, end } = needs[name]!;
    return end > sizeOf(name) || used > sizeOf(name) * nearlyFull;
  };
  if (!names.some(isShort)) return undefined;
  const share = shareOf();
  const grown = names.flatMap((name): [MapName, number][] => {
    const size = Math.min(bounds[name]!, roomFor(needs[name]!, share));
    return size > sizeOf(name) ? [[name, size]] : [];
  });
  return Object.fromEntries(grown);
}

/** At least as much free as is used: four sizes from one power of two to the next. */
function roomFor({ used, end }: Need, share: number): number {
  const rows = Math.max(end, used * share * 2, 4);
  const step = 2 ** (Math.floor(Math.log2(rows)) - 2);
  return Math.ceil(rows / step) * step;
}

/** By how much the tables fill further, when so many Services are still to come. */
export function shareToCome({ services, serviceIds, orphans }: TableState, pending: number): number {
  const used = serviceIds.used;
  if (services.size === 0 || used === 0) return 1;
  const ports = [...services.values()].reduce((sum, states) => sum + states.length, 0);
  const coming = (pending * ports) / services.size - orphans.size;
  return 1 + Math.max(0, coming) / used;
}
