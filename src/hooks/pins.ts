// Pins: what of ours is attached, as the BPF file system remembers it across restarts.
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

/** Pins a program in place of what is pinned there. */
export function replacePin(bpffs: string, pin: LinkPin, program: BpfProgram): void {
  removePin(bpffs, pin);
  program.pin(linkPath(bpffs, pin));
}

/** Links to devices and cgroups, held open as well as pinned: one that loses its pin goes on, and is pinned again. */
export class PinnedLinks {
  readonly #bpffs: string;
  readonly #open = new Map<string, BpfLink>();

  constructor(bpffs: string) {
    this.#bpffs = bpffs;
  }

  /**
   * Attaches, or replaces the program in one step, or finds that nothing is to be done. A link of an earlier agent that does not
   * stand where it should gives way to a new one.
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

  /** The new one works before the old one ends, and its pin takes the other's place in one step. */
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

  /** Replaces the program of what is attached still. */
  renew(pin: LinkPin, program: BpfProgram): BpfLink | undefined {
    const link = this.live(pin);
    if (link !== undefined && link.programId !== program.id) link.update(program);
    return link;
  }

  /** The link, as long as it is still attached to what its pin names; else the pin is removed. */
  live(pin: LinkPin): BpfLink | undefined {
    const path = linkPath(this.#bpffs, pin);
    const held = this.#open.get(path);
    if (held === undefined && !existsSync(path)) return undefined;
    const link = held ?? native().openPinnedLink(path);
    this.#open.set(path, link);
    // 0 when detached by another program or with its device or cgroup; the number may since belong to another.
    if (link.target === pin.target) return link;
    this.forget(pin);
    removePin(this.#bpffs, pin);
    return undefined;
  }

  /** Lets go of a link that has been detached. */
  forget(pin: LinkPin): void {
    const path = linkPath(this.#bpffs, pin);
    this.#open.get(path)?.close();
    this.#open.delete(path);
  }
}
