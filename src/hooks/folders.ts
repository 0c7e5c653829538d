// Finds the pinned maps that are in use. If an agent died between pinning new maps and removing the old ones, or an
// older version has run since, there are several folders: the maps of the attached programs are in use.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { native, type BpfMap } from '../../native/index.ts';
import { clsactFilter } from '../kernel/tcprograms.ts';
import { linkPath, linksFolder, loadingFolder, mapFolders, type LinkPin } from './paths.ts';
import { makeBpffsFolder } from '../kernel/mounts.ts';
import { listPins } from './pins.ts';

export interface PinnedMaps {
  readonly folder: string;
  readonly maps: ReadonlyMap<string, BpfMap>;
}

export function makeFolders(bpffs: string, ...more: readonly string[]): void {
  for (const folder of [linksFolder(bpffs), ...more]) makeBpffsFolder(folder);
}

/** The newest folder whose maps an attached program uses; the newest of all when none is attached. */
export function findPinnedMaps(bpffs: string): PinnedMaps | undefined {
  const found = mapFolders(bpffs).map(openFolder);
  if (found.length < 2) return found[0];
  const programs = attachedPrograms(bpffs).map((id) => new Set(native().mapsOfProgram(id)));
  const users = (folder: PinnedMaps) => programs.filter((ids) => isOf(ids, folder, found));
  // A program whose maps are in several folders does not tell which is in use.
  const telling = programs.filter((ids) => found.filter((folder) => isOf(ids, folder, found)).length === 1);
  const inForce = found.find((folder) => users(folder).some((ids) => telling.includes(ids))) ?? found[0];
  for (const { maps } of found.filter((folder) => folder !== inForce))
    for (const map of maps.values()) map.close();
  return inForce;
}

/** Pins that are no maps are left out. */
function openFolder(folder: string): PinnedMaps {
  const maps = readdirSync(folder).flatMap((name): [string, BpfMap][] => {
    try {
      return [[name, native().openPinnedMap(join(folder, name))]];
    } catch {
      return [];
    }
  });
  return { folder, maps: new Map(maps) };
}

/** Whether all maps of the program that are in any folder are in this one. Folders share maps that did not change. */
function isOf(used: ReadonlySet<number>, { maps }: PinnedMaps, all: readonly PinnedMaps[]): boolean {
  const idsOf = (list: ReadonlyMap<string, BpfMap>): number[] =>
    [...list.values()].map(({ info }) => info.id);
  const own = new Set(idsOf(maps));
  const known = all.flatMap((folder) => idsOf(folder.maps)).filter((id) => used.has(id));
  return known.length > 0 && known.every((id) => own.has(id));
}

function attachedPrograms(bpffs: string): number[] {
  return [...new Set(listPins(bpffs).flatMap((pin) => programAt(bpffs, pin) ?? []))];
}

/**
 * Id of the attached program; undefined when none is. The pin of a filter may be of a program that was replaced since.
 */
function programAt(bpffs: string, { kind, target }: LinkPin): number | undefined {
  if (kind === 'qdisc') return undefined;
  if (kind === 'clsact-in' || kind === 'clsact-out') {
    const direction = kind === 'clsact-in' ? 'ingress' : 'egress';
    const id = native().queryClsact(target, direction, clsactFilter.priority, clsactFilter.handle);
    return id === 0 ? undefined : id;
  }
  const link = native().openPinnedLink(linkPath(bpffs, { kind, target }));
  const id = link.target === 0 ? undefined : link.programId;
  link.close();
  return id;
}

/** Pins all maps in the folder `loading`, which is not in use. */
export function pinTogether(bpffs: string, maps: Readonly<Record<string, BpfMap>>): void {
  const loading = loadingFolder(bpffs);
  rmSync(loading, { recursive: true, force: true });
  mkdirSync(loading, { mode: 0o700 });
  for (const [name, map] of Object.entries(maps)) map.pin(join(loading, name));
}

/** Renames `loading` to `folder`: a folder of that name is complete. If it was removed, pinMissing() makes it again. */
export function bringIntoForce(bpffs: string, folder: string): void {
  if (existsSync(loadingFolder(bpffs))) renameSync(loadingFolder(bpffs), folder);
}

/** Removes all folders of maps but `keep`; returns their paths. */
export function removeOtherFolders(bpffs: string, keep: string | undefined): string[] {
  const others = [...mapFolders(bpffs), loadingFolder(bpffs)].filter(
    (path) => path !== keep && existsSync(path),
  );
  for (const path of others) rmSync(path, { recursive: true, force: true });
  return others;
}
