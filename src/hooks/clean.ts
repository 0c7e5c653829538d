// Takes away what stands under a folder on the BPF file system, link by link; needs nothing but the pins.
import { rmdirSync } from 'node:fs';
import { native } from '../../native/index.ts';
import { clsactFilter } from '../kernel/tcprograms.ts';
import { linkPath, linksFolder, type LinkPin } from './paths.ts';
import { removeOtherFolders } from './folders.ts';
import { listPins, removePin } from './pins.ts';
import { restoreLoopback, savedFolder } from '../kernel/sysctls.ts';

/** Detaches what the pin stands for, then unpins it. What is gone already is no error. */
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

/** Ours to remove because we made it, unless others use it by now. */
function removeQdisc(ifindex: number): void {
  if (native().countClsact(ifindex) === 0) native().removeClsact(ifindex);
}

function detachLink(path: string): void {
  const link = native().openPinnedLink(path);
  // Unpinning alone would leave it attached for as long as a process holds it.
  link.detach();
  link.close();
}

/** The qdisc goes last: it is empty only when both filters have gone. */
function inRemovalOrder(pins: readonly LinkPin[]): LinkPin[] {
  return [...pins.filter(({ kind }) => kind !== 'qdisc'), ...pins.filter(({ kind }) => kind === 'qdisc')];
}

export function removeAllAttached(bpffs: string, pins: readonly LinkPin[]): void {
  for (const pin of inRemovalOrder(pins)) removeAttached(bpffs, pin);
}

export interface Cleaned {
  /** Paths of pins and folders. */
  readonly removed: readonly string[];
  /** Settings of the kernel that have their earlier value again: "net.ipv4.conf.lo.accept_local = 0". */
  readonly restored: readonly string[];
}

/** Detaches and unpins everything of ours under `bpffs`. May be run twice, beside an agent or without. */
export function cleanDatapath(bpffs: string): Cleaned {
  const pins = inRemovalOrder(listPins(bpffs));
  removeAllAttached(bpffs, pins);
  const maps = removeOtherFolders(bpffs, undefined);
  const restored = restoreLoopback(bpffs);
  const folders = [linksFolder(bpffs), savedFolder(bpffs), bpffs].filter(removeEmptyFolder);
  return { removed: [...pins.map((pin) => linkPath(bpffs, pin)), ...maps, ...folders], restored };
}

/** A folder that holds anything else stays. */
function removeEmptyFolder(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}
