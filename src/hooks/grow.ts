// Replaces maps by larger ones in the running agent, in the same way as those of an earlier agent (takeover.ts). No map
// that packets write is replaced, so no packet is dropped. Programs are loaded again over the new maps.
import type { BpfMap } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { bringIntoForce, pinTogether } from './folders.ts';
import { nextMapFolder } from './paths.ts';
import { loadOver, type Datapath, type Loaded, type LoadOptions } from './load.ts';
import { socketHooks } from './cgroupattach.ts';
import { TakeOver, type Loss } from './takeover.ts';

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * Replaces the maps in `sizes`, and updates `datapath`, its maps and programs in place, since other objects hold them.
 * Rejects when the kernel refuses a map or a program, or when the agent is stopping before programs are loaded; nothing
 * has changed then. Resolves with counters that could not be copied.
 */
export async function growDatapath(
  datapath: Datapath,
  options: LoadOptions,
  sizes: Partial<Record<MapName, number>>,
  stopping: AbortSignal,
): Promise<readonly Loss[]> {
  const small = new Map((Object.keys(sizes) as MapName[]).map((name) => [name, datapath.maps[name]]));
  const all = Object.entries(datapath.maps) as [MapName, BpfMap][];
  const kept = new Map(all.filter(([name]) => !small.has(name)));
  const rows = Object.fromEntries(all.map(([name, map]) => [name, sizes[name] ?? map.info.maxEntries]));
  const next = await loadOver({ ...options, sizes: rows }, kept);
  const takeOver = new TakeOver({ ...options, ...next, outdated: small });
  try {
    stopping.throwIfAborted();
    requireSockets(next, datapath);
    const [loss] = takeOver.carryTables();
    if (loss !== undefined) throw loss.error;
  } catch (error) {
    close(next, () => true);
    throw error;
  }
  const folder = nextMapFolder(options.bpffs);
  pinTogether(options.bpffs, next.maps);
  // Before the first take-over, the programs of `datapath` are not attached yet: it attaches them with the new maps.
  const isAtWork = datapath.takeOver.done;
  const losses = isAtWork ? takeOver.run(folder) : takeOver.carryCounters();
  if (!isAtWork && datapath.replaced.length === 0) bringIntoForce(options.bpffs, folder);
  adopt(datapath, next, small, folder);
  return losses;
}

/** Throws when socket programs are loaded now but could not be loaded again: their hooks would keep the old maps. */
function requireSockets({ sockets }: Loaded, datapath: Datapath): void {
  if (sockets instanceof SluiceError && !(datapath.sockets instanceof SluiceError)) throw sockets;
}

function adopt(datapath: Datapath, next: Loaded, grown: ReadonlyMap<MapName, BpfMap>, folder: string): void {
  const { maps, programs, sockets } = datapath;
  const before = { maps: { ...maps }, programs: { ...programs }, sockets: copyOf(sockets) };
  (datapath as Writable<Datapath>).folder = folder;
  for (const name of grown.keys()) (maps as Writable<typeof maps>)[name] = next.maps[name];
  Object.assign(programs, next.programs);
  if (!(sockets instanceof SluiceError)) Object.assign(sockets, next.sockets);
  close({ maps: next.maps, programs: before.programs, sockets: before.sockets }, (name) => !grown.has(name));
  for (const name of grown.keys()) before.maps[name].close();
}

function copyOf(sockets: Loaded['sockets']): Loaded['sockets'] {
  return sockets instanceof SluiceError ? sockets : { ...sockets };
}

function close({ maps, programs, sockets }: Loaded, isWanted: (name: MapName) => boolean): void {
  for (const [name, map] of Object.entries(maps)) if (isWanted(name as MapName)) map.close();
  for (const program of [programs.tcIn, programs.tcOut, programs.xdpIn]) program.close();
  if (sockets instanceof SluiceError) return;
  for (const hook of socketHooks) sockets[hook].close();
}
