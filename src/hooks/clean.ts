// Detaches and unpins everything under a folder on the BPF file system. Needs nothing but the pins.
import { rmdirSync } from 'node:fs';
import { native } from '../../native/index.ts';
import { clsactFilter } from '../kernel/tcprograms.ts';
import { linkPath, linksFolder, type LinkPin } from './paths.ts';
import { removeOtherFolders } from './folders.ts';
import { listPins, removePin } from './pins.ts';
import { restoreLoopback, savedFolder } from '../kernel/sysctls.ts';

/** Detaches the link or filter of a pin, then removes the pin. No error if it was detached already. */
export function removeAttached(bpffs: string, pin: LinkPin): void {
  if (pin.kind === 'clsact-in') removeFilter(pin.target, 'ingress');
  else if (pin.kind === 'clsact-out') removeFilter(pin.target, 'egress');
  else if (pin.kind === 'qdisc') removeQdisc(pin.target);
  else detachLink(linkPath(bpffs, pin));
  removePin(bpffs, pin);
}

function removeFilter(ifindex: number, direction: 'ingress' | 'egress'): void {
  native().detachClsact(ifindex, direction, clsactFilter.priority, clsactFilter.handle);
}

/** Only qdiscs that the agent has made have a pin. It is kept if others have filters on it. */
function removeQdisc(ifindex: number): void {
  if (native().countClsact(ifindex) === 0) native().removeClsact(ifindex);
}

function detachLink(path: string): void {
  const link = native().openPinnedLink(path);
  // Without this it stays attached for as long as a process has it open.
  link.detach();
  link.close();
}

/** The qdisc last: it is removed only when it has no filters. */
function inRemovalOrder(pins: readonly LinkPin[]): LinkPin[] {
  return [...pins.filter(({ kind }) => kind !== 'qdisc'), ...pins.filter(({ kind }) => kind === 'qdisc')];
}

export function removeAllAttached(bpffs: string, pins: readonly LinkPin[]): void {
  for (const pin of inRemovalOrder(pins)) removeAttached(bpffs, pin);
}

export interface Cleaned {
  /** Paths of pins and folders. */
  readonly removed: readonly string[];
  /** Sysctls with their old value restored: "net.ipv4.conf.lo.accept_local = 0". */
  readonly restored: readonly string[];
}

/** Detaches and unpins everything under `bpffs`. Returns what it removed; may be called again. */
export function cleanDatapath(bpffs: string): Cleaned {
  const pins = inRemovalOrder(listPins(bpffs));
  removeAllAttached(bpffs, pins);
  const maps = removeOtherFolders(bpffs, undefined);
  const restored = restoreLoopback(bpffs);
  const folders = [linksFolder(bpffs), savedFolder(bpffs), bpffs].filter(removeEmptyFolder);
  return { removed: [...pins.map((pin) => linkPath(bpffs, pin)), ...maps, ...folders], restored };
}

/** False for a folder that is not empty, which stays. */
function removeEmptyFolder(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}
