// Loads the programs over the maps that are pinned already, or over new ones that it pins: the datapath outlives the agent.
import { existsSync } from 'node:fs';
import { native, type BpfMap, type BpfObject, type BpfProgram, type MapInfo } from '../../native/index.ts';
import { encode } from '../abi/codec.ts';
import { configMap, maps as mapDefinitions, slbConfig } from '../abi/layout.gen.ts';
import type { MapName, SlbConfigRow } from '../abi/layout.gen.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { linksFolder, mapPath, mapsFolder } from './layout.ts';
import { makeBpffsFolder } from './mounts.ts';
import { programName, socketHooks, type SocketHook } from './sockethooks.ts';

type SizeField = 'serviceSlots' | 'backendSlots' | 'setSlots' | 'slotRows' | 'maglevRows';

/** What the agent decides; the number of rows follows from the maps. */
export type DatapathConfig = Omit<SlbConfigRow, SizeField>;

export interface LoadOptions {
  readonly bpffs: string;
  /** Contents of the object files. */
  readonly objects: Readonly<Record<'tc' | 'xdp' | 'sock', Uint8Array>>;
  readonly config: DatapathConfig;
  /** Rows of new maps; the default where none is given. */
  readonly sizes: Partial<Record<MapName, number>>;
}

export interface Programs {
  readonly tcIn: BpfProgram;
  readonly tcOut: BpfProgram;
  readonly xdpIn: BpfProgram;
}

export type SocketPrograms = Readonly<Record<SocketHook, BpfProgram>>;

export type Maps = Readonly<Record<MapName, BpfMap>>;

export interface Datapath {
  readonly maps: Maps;
  readonly programs: Programs;
  /** Or why there are none: the packet path serves sockets too. */
  readonly sockets: SocketPrograms | SluiceError;
  /** Every map was there already: services are being forwarded, and rows must be kept. */
  readonly adopted: boolean;
  /** What differs from what was asked for. */
  readonly warnings: readonly string[];
}

export function loadDatapath(options: LoadOptions): Datapath {
  makeFolders(options.bpffs);
  const adopted = adoptMaps(options.bpffs);
  const rows = (name: MapName): number =>
    adopted.get(name)?.info.maxEntries ?? options.sizes[name] ?? mapDefinitions[name].maxEntries;
  const config = encode(slbConfig, { ...options.config, ...rowsOfMaps(rows) });

  const tc = prepare(options.objects.tc, 'sluice_tc', config, adopted, rows);
  loadObject(tc, 'tc');
  const maps = takeMaps(tc);
  const xdp = prepare(options.objects.xdp, 'sluice_xdp', config, new Map(Object.entries(maps)), rows);
  loadObject(xdp, 'xdp');

  const programs = {
    tcIn: tc.program('slb_tc_in'),
    tcOut: tc.program('slb_tc_out'),
    xdpIn: xdp.program('slb_xdp_in'),
  };
  const sockets = loadSockets(options.objects.sock, config, maps, rows);
  tc.close();
  xdp.close();
  pinMissing(options.bpffs, maps);
  return {
    maps,
    programs,
    sockets,
    adopted: adopted.size === Object.keys(mapDefinitions).length,
    warnings: differences(adopted, options.sizes),
  };
}

function loadSockets(
  elf: Uint8Array,
  config: Uint8Array,
  maps: Maps,
  rows: (name: MapName) => number,
): SocketPrograms | SluiceError {
  try {
    const object = prepare(elf, 'sluice_sock', config, new Map(Object.entries(maps)), rows);
    loadObject(object, 'sock');
    const programs = socketHooks.map((hook) => [hook, object.program(programName(hook))] as const);
    object.close();
    return Object.fromEntries(programs) as SocketPrograms;
  } catch (error) {
    return new SluiceError('SLB_E_SOCKETS', messageOf(error), { cause: error });
  }
}

/** Pins whatever map has lost its pin; returns their names. Called when loading and, to repair, from time to time. */
export function pinMissing(bpffs: string, maps: Maps): string[] {
  const missing = Object.entries(maps).filter(([name]) => !existsSync(mapPath(bpffs, name)));
  if (missing.length > 0) makeFolders(bpffs);
  for (const [name, map] of missing) map.pin(mapPath(bpffs, name));
  return missing.map(([name]) => name);
}

function makeFolders(bpffs: string): void {
  makeBpffsFolder(mapsFolder(bpffs));
  makeBpffsFolder(linksFolder(bpffs));
}

/** Pinned maps by name. One of another layout is refused: its rows mean something else. */
function adoptMaps(bpffs: string): Map<string, BpfMap> {
  const adopted = new Map<string, BpfMap>();
  for (const definition of Object.values(mapDefinitions)) {
    const path = mapPath(bpffs, definition.name);
    if (!existsSync(path)) continue;
    const map = native().openPinnedMap(path);
    refuseOtherLayout(path, map.info, definition);
    adopted.set(definition.name, map);
  }
  return adopted;
}

type Definition = (typeof mapDefinitions)[MapName];

function refuseOtherLayout(path: string, have: MapInfo, want: Definition): void {
  const differing = [
    have.type === want.typeId ? '' : `type ${String(have.type)}, not ${String(want.typeId)}`,
    have.keySize === want.keySize ? '' : `keys of ${String(have.keySize)} bytes, not ${String(want.keySize)}`,
    have.valueSize === want.valueSize
      ? ''
      : `values of ${String(have.valueSize)} bytes, not ${String(want.valueSize)}`,
    have.flags === want.flags ? '' : `flags ${String(have.flags)}, not ${String(want.flags)}`,
  ].filter((text) => text !== '');
  if (differing.length === 0) return;
  throw new SluiceError(
    'SLB_E_MAP_LAYOUT',
    `${path} has ${differing.join(', ')}; run sluice clean to start afresh (connections are lost)`,
  );
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

function prepare(
  elf: Uint8Array,
  name: string,
  config: Uint8Array,
  present: ReadonlyMap<string, BpfMap>,
  rows: (name: MapName) => number,
): BpfObject {
  try {
    const object = native().openObject(elf, name);
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

function loadObject(object: BpfObject, name: string): void {
  try {
    object.load();
  } catch (error) {
    throw new SluiceError('SLB_E_LOAD', `${name}: ${messageOf(error)}`, { cause: error });
  }
}

function takeMaps(object: BpfObject): Maps {
  const names = Object.keys(mapDefinitions) as MapName[];
  return Object.fromEntries(names.map((name) => [name, object.map(name)])) as unknown as Maps;
}

function differences(
  adopted: ReadonlyMap<string, BpfMap>,
  sizes: Partial<Record<MapName, number>>,
): string[] {
  return Object.entries(sizes).flatMap(([name, wanted]) => {
    const rows = adopted.get(name)?.info.maxEntries;
    if (rows === undefined || rows === wanted) return [];
    return `${name} keeps its ${String(rows)} rows instead of ${String(wanted)}: run sluice clean to change it`;
  });
}
