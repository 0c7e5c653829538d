// Pins of links and filters on the BPF file system, by which a restarted agent finds what is attached.
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { native, type BpfLink, type BpfProgram } from '../../native/index.ts';
import { linkPath, linksFolder, parseLinkName, type LinkPin } from './paths.ts';

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

/** Replaces the pin by one of `program`. */
export function replacePin(bpffs: string, pin: LinkPin, program: BpfProgram): void {
  removePin(bpffs, pin);
  program.pin(linkPath(bpffs, pin));
}

/**
 * Links to devices and cgroups, pinned and held open: a link whose pin is removed stays attached, and is pinned again.
 */
export class PinnedLinks {
  readonly #bpffs: string;
  readonly #open = new Map<string, BpfLink>();

  constructor(bpffs: string) {
    this.#bpffs = bpffs;
  }

  /**
   * Makes sure that `program` is attached: attaches it, or updates the link atomically. A link of an earlier agent at
   * another position than wanted (`isInPlace`) is replaced by a new one.
   */
  ensure(
    pin: LinkPin,
    program: BpfProgram,
    attach: () => BpfLink,
    isInPlace: (link: BpfLink) => boolean = () => true,
  ): void {
    const path = linkPath(this.#bpffs, pin);
    const earlier = this.live(pin);
    if (earlier !== undefined && earlier.programId !== program.id && !isInPlace(earlier))
      return this.#replace(pin, earlier, attach());
    const link = this.renew(pin, program) ?? attach();
    this.#open.set(path, link);
    if (!existsSync(path)) link.pin(path);
  }

  /** The new link is attached before the old one is detached; the pin is replaced by a rename. */
  #replace(pin: LinkPin, earlier: BpfLink, link: BpfLink): void {
    const path = linkPath(this.#bpffs, pin);
    const beside = join(dirname(path), `new-${basename(path)}`); // the file system reserves dots
    rmSync(beside, { force: true });
    link.pin(beside);
    renameSync(beside, path);
    earlier.detach();
    earlier.close();
    this.#open.set(path, link);
  }

  /** Updates the program of a link that is still attached; undefined when none is. */
  renew(pin: LinkPin, program: BpfProgram): BpfLink | undefined {
    const link = this.live(pin);
    if (link !== undefined && link.programId !== program.id) link.update(program);
    return link;
  }

  /** The link, if it is still attached to the target of its pin; otherwise the pin is removed. */
  live(pin: LinkPin): BpfLink | undefined {
    const path = linkPath(this.#bpffs, pin);
    const held = this.#open.get(path);
    if (held === undefined && !existsSync(path)) return undefined;
    const link = held ?? native().openPinnedLink(path);
    this.#open.set(path, link);
    // 0 when it was detached, or its device or cgroup removed. An ifindex may belong to another device since.
    if (link.target === pin.target) return link;
    this.forget(pin);
    removePin(this.#bpffs, pin);
    return undefined;
  }

  /** Closes a link that was detached. */
  forget(pin: LinkPin): void {
    const path = linkPath(this.#bpffs, pin);
    this.#open.get(path)?.close();
    this.#open.delete(path);
  }
}
