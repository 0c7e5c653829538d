// Where things of ours stand under a folder on a BPF file system: maps/NAME, links/HOOK-TARGET, saved/SETTING-VALUE.
import { join } from 'node:path';
import { socketHooks } from './sockethooks.ts';

/** A pin in links/. A clsact filter is no link: its program is pinned instead, so that `clean` finds the filter again. */
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

export function mapsFolder(bpffs: string): string {
  return join(bpffs, 'maps');
}

export function linksFolder(bpffs: string): string {
  return join(bpffs, 'links');
}

/** Settings of the kernel as they were before: one folder NAME-VALUE each. */
export function savedFolder(bpffs: string): string {
  return join(bpffs, 'saved');
}

export function mapPath(bpffs: string, name: string): string {
  return join(mapsFolder(bpffs), name);
}

export function linkPath(bpffs: string, { kind, target }: LinkPin): string {
  return join(linksFolder(bpffs), `${kind}-${String(target)}`);
}

/** undefined for a name that is not ours. */
export function parseLinkName(name: string): LinkPin | undefined {
  const match = /^(.+)-(\d+)$/.exec(name);
  const kind = pinKinds.find((known) => known === match?.[1]);
  return kind === undefined ? undefined : { kind, target: Number(match?.[2]) };
}

/** Fixed, so that a filter of ours is replaced and not joined by a second one. */
export const clsactFilter = { priority: 0x534c, handle: 0x42 } as const;
