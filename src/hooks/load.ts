// Loads the programs over the maps that are pinned already, or over new ones that it pins: the datapath outlives the agent. Maps of
// another size or layout are replaced by new ones, which take over their rows (takeover.ts).
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

/** What the agent decides; the number of rows follows from the maps. */
export type DatapathConfig = Omit<SlbConfigRow, SizeField>;

export interface LoadOptions {
  readonly bpffs: string;
  /** Contents of the object files. */
  readonly objects: Readonly<Record<'tc' | 'xdp' | 'sock' | 'gate', Uint8Array>>;
  readonly config: DatapathConfig;
  /** Rows of the maps; the default where none is given. */
  readonly sizes: Partial<Record<MapName, number>>;
  /** A pinned map that is larger than asked for stays as it is, up to these sizes. */
  readonly bounds?: Partial<Record<MapName, number>>;
}

export interface Datapath {
  readonly maps: Maps;
  /** Where they are pinned, once nothing is left to be taken over; with the maps, another one when these have grown. */
  readonly folder: string;
  readonly programs: Programs;
  /** Or why there are none: the packet path serves sockets too. */
  readonly sockets: SocketPrograms | SluiceError;
  /** Every row of the services was there already: they are being forwarded, and rows must be kept. */
  readonly adopted: boolean;
  /** Maps that were replaced, for others of their size or layout. */
  readonly replaced: readonly MapName[];
  /** Maps that have more rows than asked for, because more are in use. */
  readonly oversized: readonly Oversized[];
  /** What of the rows of the services could not be taken over. */
  readonly losses: readonly Loss[];
  /** Puts the programs in the place of those that are attached, without a packet between the old maps and the new. */
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

/** New maps that replace others are not in force before they are complete: TakeOver sees to that. */
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

/** What has grown stays large: an agent that starts anew may have as much to write. */
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

// Without a seed tables are as those that knew none.
const tables = (Object.keys(writers) as MapName[]).filter(
  (name) => writers[name] === 'agent' && name !== 'slb_seed',
);

interface SortedMaps {
  readonly kept: ReadonlyMap<MapName, BpfMap>;
  readonly outdated: ReadonlyMap<MapName, BpfMap>;
  readonly oversized: readonly Oversized[];
  readonly sizes: LoadOptions['sizes'];
}

/** Rows of another layout mean something else: such maps are not used, nor are those of another size than asked for. */
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

/** Pins whatever map has lost its pin; returns their names. Called when loading and, to repair, from time to time. */
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
