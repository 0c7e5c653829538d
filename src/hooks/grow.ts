// Larger maps in the running process: the same way as from an earlier agent's maps to others (takeover.ts), but nothing that packets
// write moves, so that no packet is held off. The programs are loaded anew over the new maps, and replaced at every hook.
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
 * Gives the maps these sizes; what holds on to `datapath`, to its maps or its programs finds the new ones there. Throws when they cannot be had,
 * or when the agent is stopping by the time that the programs are loaded: then all is as before.
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
  // Where programs are not at work yet, those of `datapath` will be put there, with all else that is still to be done.
  const isAtWork = datapath.takeOver.done;
  const losses = isAtWork ? takeOver.run(folder) : takeOver.carryCounters();
  if (!isAtWork && datapath.replaced.length === 0) bringIntoForce(options.bpffs, folder);
  adopt(datapath, next, small, folder);
  return losses;
}

/** Hooks at cgroups must not be left with the old maps. */
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
