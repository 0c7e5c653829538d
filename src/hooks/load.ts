// Loads the programs over the pinned maps, or over new ones that it pins: the data path outlives the agent. Pinned maps
// of another size or layout are replaced, and their rows are copied (takeover.ts).
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { native, type BpfMap, type BpfObject } from '../../native/index.ts';
import { encode } from '../abi/codec.ts';
import { configMap, maps as mapDefinitions, slbConfig } from '../abi/layout.gen.ts';
import type { MapName, SlbConfigRow } from '../abi/layout.gen.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { writers } from './carry.ts';
import { sameLayout } from './convert.ts';
import { programName, socketHooks } from './cgroupattach.ts';
import { findOversized, type Oversized } from './fit.ts';
import { bringIntoForce, findPinnedMaps, makeFolders, pinTogether } from './folders.ts';
import type { Maps, Programs, SocketPrograms } from './objects.ts';
import { nextMapFolder } from './paths.ts';
import { renamePins } from './renamed.ts';
import { TakeOver, type Loss } from './takeover.ts';

type SizeField = 'serviceSlots' | 'backendSlots' | 'setSlots' | 'slotRows' | 'maglevRows';

/** The configuration of the programs, without the sizes of maps, which are added here. */
export type DatapathConfig = Omit<SlbConfigRow, SizeField>;

export interface LoadOptions {
  readonly bpffs: string;
  /** Contents of the object files. */
  readonly objects: Readonly<Record<'tc' | 'xdp' | 'sock' | 'gate', Uint8Array>>;
  readonly config: DatapathConfig;
  /** Sizes of the maps in rows; the default for those that are missing. */
  readonly sizes: Partial<Record<MapName, number>>;
  /** Pinned maps that are larger than `sizes` keep their size, up to these. */
  readonly bounds?: Partial<Record<MapName, number>>;
}

export interface Datapath {
  readonly maps: Maps;
  /** Where they are pinned once the take-over is done. It changes when maps grow. */
  readonly folder: string;
  readonly programs: Programs;
  /** Or why they could not be loaded: Service addresses are then translated per packet. */
  readonly sockets: SocketPrograms | SluiceError;
  /** All rows of services come from an earlier agent: they are being forwarded. */
  readonly adopted: boolean;
  /** Maps that were replaced because their size or layout differs. */
  readonly replaced: readonly MapName[];
  /** Maps that keep a larger size because more rows are in use. */
  readonly oversized: readonly Oversized[];
  /** Rows of services that could not be copied. */
  readonly losses: readonly Loss[];
  /** Replaces attached programs so that no packet sees a mix of old and new maps. */
  readonly takeOver: TakeOver;
}

export async function loadDatapath(options: LoadOptions): Promise<Datapath> {
  makeFolders(options.bpffs);
  const found = findPinnedMaps(options.bpffs);
  const present = found === undefined ? new Map<string, BpfMap>() : renamePins(found);
  const asked = { ...options, sizes: sizesOver(present, options) };
  const { kept, outdated, oversized, sizes } = sortMaps(present, asked);
  const { maps, programs, sockets } = await loadOver({ ...options, sizes }, kept);
  for (const map of kept.values()) map.close(); // `maps` has handles of its own
  const takeOver = new TakeOver({ ...options, ...{ programs, sockets, maps, outdated } });
  const losses = takeOver.carryTables();
  const folder = placeMaps(options.bpffs, maps, found?.folder, outdated.size > 0);
  return {
    ...{ maps, folder, programs, sockets, losses, oversized },
    adopted: losses.length === 0 && tables.every((name) => kept.has(name) || outdated.has(name)),
    replaced: [...outdated.keys()],
    takeOver,
  };
}

/** Pins the maps. If they replace others, TakeOver renames their folder when they are complete. */
function placeMaps(bpffs: string, maps: Maps, found: string | undefined, replaces: boolean): string {
  if (found !== undefined && !replaces) {
    pinMissing({ folder: found, maps });
    return found;
  }
  const folder = nextMapFolder(bpffs);
  pinTogether(bpffs, maps);
  if (!replaces) bringIntoForce(bpffs, folder);
  return folder;
}

/** Maps that have grown keep their size: a restarted agent may have as many rows to write. */
function sizesOver(
  present: ReadonlyMap<string, BpfMap>,
  { sizes, bounds = {} }: LoadOptions,
): LoadOptions['sizes'] {
  const entries = Object.entries(sizes) as [MapName, number][];
  return Object.fromEntries(
    entries.map(([name, size]) => {
      const bound = Math.max(size, bounds[name] ?? 0);
      return [name, Math.min(bound, Math.max(size, present.get(name)?.info.maxEntries ?? 0))];
    }),
  );
}

// All maps that the agent writes, but slb_seed: older versions do not have it, and their rows can be adopted.
const tables = (Object.keys(writers) as MapName[]).filter(
  (name) => writers[name] === 'agent' && name !== 'slb_seed',
);

interface SortedMaps {
  readonly kept: ReadonlyMap<MapName, BpfMap>;
  readonly outdated: ReadonlyMap<MapName, BpfMap>;
  readonly oversized: readonly Oversized[];
  readonly sizes: LoadOptions['sizes'];
}

/** Sorts pinned maps into those to use, and those to replace because type, size or layout differ. */
function sortMaps(found: ReadonlyMap<string, BpfMap>, { objects, sizes: asked }: LoadOptions): SortedMaps {
  const kept = new Map<MapName, BpfMap>();
  const outdated = new Map<MapName, BpfMap>();
  const oversized: Oversized[] = [];
  const sizes = { ...asked };
  const object = openObject(objects.tc, 'sluice_tc');
  for (const [name, map] of found) {
    if (!isShared(name)) {
      map.close();
      continue;
    }
    const larger = findOversized(name, map, sizes[name] ?? mapDefinitions[name].maxEntries);
    if (larger !== undefined) oversized.push(larger);
    if (larger !== undefined) sizes[name] = map.info.maxEntries;
    const { info } = map;
    const want = mapDefinitions[name];
    const same =
      info.type === want.typeId &&
      info.keySize === want.keySize &&
      info.valueSize === want.valueSize &&
      info.flags === want.flags &&
      info.maxEntries === (sizes[name] ?? want.maxEntries) &&
      sameLayout(map.layout(), object.layout(name));
    (same ? kept : outdated).set(name, map);
  }
  object.close();
  return { kept, outdated, oversized, sizes };
}

const mapNames = Object.keys(mapDefinitions) as MapName[];

export type Loaded = Pick<Datapath, 'maps' | 'programs' | 'sockets'>;

/** The verifier works on another thread: meanwhile the loop is free. */
export async function loadOver(
  { objects, config: decided, sizes }: Pick<LoadOptions, 'objects' | 'config' | 'sizes'>,
  kept: ReadonlyMap<string, BpfMap>,
): Promise<Loaded> {
  const rows = (name: MapName): number => sizes[name] ?? mapDefinitions[name].maxEntries;
  const config = encode(slbConfig, { ...decided, ...rowsOfMaps(rows) });
  const tc = prepare(objects.tc, 'sluice_tc', config, kept, rows);
  await loadObject(tc, 'tc');
  const maps = takeMaps(tc);
  const xdp = prepare(objects.xdp, 'sluice_xdp', config, new Map(Object.entries(maps)), rows);
  await loadObject(xdp, 'xdp');
  const programs = {
    tcIn: tc.program('slb_tc_in'),
    tcOut: tc.program('slb_tc_out'),
    xdpIn: xdp.program('slb_xdp_in'),
  };
  const sockets = await loadSockets(objects.sock, config, maps, rows);
  tc.close();
  xdp.close();
  return { maps, programs, sockets };
}

async function loadSockets(
  elf: Uint8Array,
  config: Uint8Array,
  maps: Maps,
  rows: (name: MapName) => number,
): Promise<SocketPrograms | SluiceError> {
  try {
    const object = prepare(elf, 'sluice_sock', config, new Map(Object.entries(maps)), rows);
    await loadObject(object, 'sock');
    const programs = socketHooks.map((hook) => [hook, object.program(programName(hook))] as const);
    object.close();
    return Object.fromEntries(programs) as SocketPrograms;
  } catch (error) {
    return new SluiceError('SLB_E_SOCKETS', messageOf(error), { cause: error });
  }
}

/** Pins maps that have no pin; returns their names. Called when loading, and regularly to repair. */
export function pinMissing({ folder, maps }: Pick<Datapath, 'folder' | 'maps'>): string[] {
  const missing = Object.entries(maps).filter(([name]) => !existsSync(join(folder, name)));
  if (missing.length > 0) makeFolders(dirname(folder), folder);
  for (const [name, map] of missing) map.pin(join(folder, name));
  return missing.map(([name]) => name);
}

function rowsOfMaps(rows: (name: MapName) => number): Pick<SlbConfigRow, SizeField> {
  return {
    serviceSlots: rows('slb_services'),
    backendSlots: rows('slb_backends'),
    setSlots: rows('slb_sets'),
    slotRows: rows('slb_slots'),
    maglevRows: rows('slb_maglev'),
  };
}

function isShared(name: string): name is MapName {
  return name in mapDefinitions;
}

function openObject(elf: Uint8Array, name: string): BpfObject {
  try {
    return native().openObject(elf, name);
  } catch (error) {
    throw new SluiceError('SLB_E_LOAD', `${name}: ${messageOf(error)}`, { cause: error });
  }
}

function prepare(
  elf: Uint8Array,
  name: string,
  config: Uint8Array,
  present: ReadonlyMap<string, BpfMap>,
  rows: (name: MapName) => number,
): BpfObject {
  const object = openObject(elf, name);
  try {
    object.setInitialValue(configMap, config);
    for (const mapName of object.maps().filter(isShared)) {
      const map = present.get(mapName);
      if (map !== undefined) object.reuseMap(mapName, map);
      else object.setMaxEntries(mapName, rows(mapName));
    }
    return object;
  } catch (error) {
    throw new SluiceError('SLB_E_LOAD', `${name}: ${messageOf(error)}`, { cause: error });
  }
}

async function loadObject(object: BpfObject, name: string): Promise<void> {
  try {
    await object.loadAsync();
  } catch (error) {
    throw new SluiceError('SLB_E_LOAD', `${name}: ${messageOf(error)}`, { cause: error });
  }
}

function takeMaps(object: BpfObject): Maps {
  return Object.fromEntries(mapNames.map((name) => [name, object.map(name)])) as unknown as Maps;
}
