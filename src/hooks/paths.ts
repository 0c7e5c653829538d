// Paths under the --bpffs folder: maps-N/NAME, links/HOOK-TARGET, saved/SYSCTL-VALUE. Maps of another size or layout
// are in a folder with the next number. The first versions have `maps` without a number.
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { socketHooks } from './cgroupattach.ts';

/**
 * A pin in links/. A clsact filter is no link: its program is pinned instead, so that `sluice clean` finds the filter.
 */
export const pinKinds = [
  'tcx-in',
  'tcx-out',
  'xdp-native',
  'xdp-generic',
  'clsact-in',
  'clsact-out',
  'qdisc',
  ...socketHooks,
] as const;
export type PinKind = (typeof pinKinds)[number];

export interface LinkPin {
  readonly kind: PinKind;
  readonly target: number; // ifindex of its device, or id of its cgroup
}

const ofSockets: ReadonlySet<string> = new Set(socketHooks);

export function isDevicePin({ kind }: LinkPin): boolean {
  return !ofSockets.has(kind);
}

/** All folders of maps, the newest first. */
export function mapFolders(bpffs: string): readonly string[] {
  if (!existsSync(bpffs)) return [];
  const numbers = readdirSync(bpffs).flatMap((name) => numberOf(name) ?? []);
  return numbers.sort((one, other) => other - one).map((number) => mapFolder(bpffs, number));
}

export function nextMapFolder(bpffs: string): string {
  const [newest] = mapFolders(bpffs);
  return mapFolder(bpffs, newest === undefined ? 1 : (numberOf(basename(newest)) ?? 0) + 1);
}

function mapFolder(bpffs: string, number: number): string {
  return join(bpffs, number === 0 ? 'maps' : `maps-${String(number)}`);
}

function numberOf(name: string): number | undefined {
  const number = /^maps(?:-([1-9]\d*))?$/.exec(name);
  return number === null ? undefined : Number(number[1] ?? 0);
}

/** Renamed to a folder of maps when all maps are pinned in it. */
export function loadingFolder(bpffs: string): string {
  return join(bpffs, 'loading');
}

export function linksFolder(bpffs: string): string {
  return join(bpffs, 'links');
}

export function linkPath(bpffs: string, { kind, target }: LinkPin): string {
  return join(linksFolder(bpffs), `${kind}-${String(target)}`);
}

/** undefined for other names. */
export function parseLinkName(name: string): LinkPin | undefined {
  const match = /^(.+)-(\d+)$/.exec(name);
  const kind = pinKinds.find((known) => known === match?.[1]);
  return kind === undefined ? undefined : { kind, target: Number(match?.[2]) };
}
