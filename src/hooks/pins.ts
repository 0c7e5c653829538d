// Pins of links: what of ours is attached, as the BPF file system remembers it across restarts.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { native, type BpfLink, type BpfProgram } from '../../native/index.ts';
import { linkPath, linksFolder, parseLinkName, type LinkPin } from './layout.ts';

export function listPins(bpffs: string): LinkPin[] {
  if (!existsSync(linksFolder(bpffs))) return [];
  return readdirSync(linksFolder(bpffs)).flatMap((name) => parseLinkName(name) ?? []);
}

export function hasPin(bpffs: string, pin: LinkPin): boolean {
  return existsSync(linkPath(bpffs, pin));
}

export function removePin(bpffs: string, pin: LinkPin): void {
  rmSync(linkPath(bpffs, pin), { force: true });
}

/** Pins a program or link, in place of what is pinned there. */
export function replacePin(bpffs: string, pin: LinkPin, what: BpfProgram | BpfLink): void {
  removePin(bpffs, pin);
  what.pin(linkPath(bpffs, pin));
}

/** The pinned link, as long as it is still attached to the device that its name says; else its pin is removed. */
export function openLiveLink(bpffs: string, pin: LinkPin): BpfLink | undefined {
  if (!hasPin(bpffs, pin)) return undefined;
  const link = native().openPinnedLink(linkPath(bpffs, pin));
  // 0 when detached by somebody or with its device; the number may since belong to another device.
  if (link.ifindex === pin.ifindex) return link;
  link.close();
  removePin(bpffs, pin);
  return undefined;
}
