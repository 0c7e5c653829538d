// The files of the folder: which there are, and the text of those that changed.
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

const extensions = ['.yaml', '.yml', '.json'];

/** Writers that truncate and then write are given this long to go on before a file is read. */
export const quietMs = 50;

export interface FileText {
  readonly name: string;
  readonly text: string;
}

export interface Scan {
  /** Every manifest file there is, by name. */
  readonly names: readonly string[];
  /** Files that are new or changed since they were last read, and are not being written just now. */
  readonly changed: readonly FileText[];
  /** Files that could not be read, and why. */
  readonly failed: readonly { readonly name: string; readonly error: unknown }[];
  /** Some file was being written: look again soon. */
  readonly beingWritten: boolean;
}

/** What a file looked like when it was read. Equal stamps mean equal content, except in the moment of writing. */
type Stamp = string;

export class Folder {
  readonly #folder: string;
  readonly #now: () => number;
  #stamps = new Map<string, Stamp>();

  constructor(folder: string, now: () => number = Date.now) {
    this.#folder = folder;
    this.#now = now;
  }

  /** Rejects when the folder itself cannot be listed. Without `waitForWriters` files are read even while they are being written. */
  async scan(options: { readonly waitForWriters: boolean }): Promise<Scan> {
    const names = (await readdir(this.#folder)).filter(isManifest).sort();
    const result = {
      names,
      changed: [] as FileText[],
      failed: [] as Scan['failed'][number][],
      beingWritten: false,
    };
    const stamps = new Map<string, Stamp>();
    for (const name of names) {
      try {
        const { stamp, ageMs } = await this.#look(name);
        const fresh = ageMs < quietMs;
        const known = this.#stamps.get(name);
        if (fresh) result.beingWritten = true;
        if (fresh && options.waitForWriters) {
          if (known !== undefined) stamps.set(name, known);
          continue;
        }
        if (stamp !== known) result.changed.push({ name, text: await this.#read(name) });
        // A write within the same tick of the file system's clock would not show: such a file is read once more.
        if (!fresh) stamps.set(name, stamp);
      } catch (error) {
        result.failed.push({ name, error });
      }
    }
    this.#stamps = stamps;
    return result;
  }

  async #look(name: string): Promise<{ stamp: Stamp; ageMs: number }> {
    const { ino, size, mtimeNs, ctimeNs, mtimeMs } = await stat(path.join(this.#folder, name), {
      bigint: true,
    });
    // A modification time in the future (a wrong clock, tar) must not count as "being written" for ever.
    const ageMs = Math.abs(this.#now() - Number(mtimeMs));
    return { stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`, ageMs };
  }

  async #read(name: string): Promise<string> {
    return readFile(path.join(this.#folder, name), 'utf8');
  }
}

/** Hidden files are editors' and kubelet's own (a mounted ConfigMap's `..data`). */
function isManifest(name: string): boolean {
  return !name.startsWith('.') && extensions.includes(path.extname(name).toLowerCase());
}
