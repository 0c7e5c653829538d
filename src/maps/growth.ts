// Sizes of the maps that grow with the number of Services and endpoints. Pure.
import { slbLimits, type MapName } from '../abi/layout.gen.ts';
import type { TableState } from '../table/state.ts';
import { nearlyFull } from './sizes.ts';

export type Sizes = Readonly<Partial<Record<MapName, number>>>;

export interface Growth {
  /** Maximum sizes. */
  readonly bounds: Sizes;
  /**
   * Replaces maps by larger ones with the same rows. Rejects when the kernel refuses, or on abort; nothing has changed
   * then.
   */
  readonly grow: (sizes: Sizes, stopping: AbortSignal) => Promise<void>;
}

/** Rows that a map needs. */
export interface Need {
  readonly used: number;
  /** The least size: one more than the last row in use. */
  readonly end: number;
}

/** Needs of the maps that can grow, as planned: they may exceed the sizes in the kernel. */
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
 * New sizes of the maps that must grow; undefined when none must. `factorOf` estimates by what factor the needs will
 * still increase. If one must grow, others that are close to it grow too, since the programs are loaded again in any
 * case.
 */
export function grownSizes(
  needs: ReturnType<typeof needsOf>,
  sizeOf: (name: MapName) => number,
  bounds: Sizes,
  factorOf: () => number = () => 1,
): Sizes | undefined {
  const names = (Object.keys(needs) as MapName[]).filter((name) => sizeOf(name) < (bounds[name] ?? 0));
  const isShort = (name: MapName): boolean => {
    const { used, end } = needs[name]!;
    return end > sizeOf(name) || used > sizeOf(name) * nearlyFull;
  };
  if (!names.some(isShort)) return undefined;
  const factor = factorOf();
  const grown = names.flatMap((name): [MapName, number][] => {
    const size = Math.min(bounds[name]!, sizeFor(needs[name]!, factor));
    return size > sizeOf(name) ? [[name, size]] : [];
  });
  return Object.fromEntries(grown);
}

/** At least twice the rows in use, rounded up to one of four sizes between two powers of two. */
function sizeFor({ used, end }: Need, factor: number): number {
  const rows = Math.max(end, used * factor * 2, 4);
  const step = 2 ** (Math.floor(Math.log2(rows)) - 2);
  return Math.ceil(rows / step) * step;
}

/** The factor by which the needs increase when `pending` Services are still to be planned. */
export function expectedFactor({ services, serviceIds, orphans }: TableState, pending: number): number {
  const used = serviceIds.used;
  if (services.size === 0 || used === 0) return 1;
  const ports = [...services.values()].reduce((sum, states) => sum + states.length, 0);
  const expected = (pending * ports) / services.size - orphans.size;
  return 1 + Math.max(0, expected) / used;
}
