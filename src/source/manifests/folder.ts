// The files of the folder, and the text of those that changed.
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

const extensions = ['.yaml', '.yml', '.json'];

/** A file is read when it has not been modified for this long: some writers truncate it first. */
export const quietMs = 50;

export interface FileText {
  readonly name: string;
  readonly text: string;
}

export interface Scan {
  /** Names of all manifest files. */
  readonly names: readonly string[];
  /** Files that are new or changed since they were last read, and are not being written. */
  readonly changed: readonly FileText[];
  /** Files that could not be read, and why. */
  readonly failed: readonly { readonly name: string; readonly error: unknown }[];
  /** Some file was modified less than `quietMs` ago: scan again soon. */
  readonly beingWritten: boolean;
}

/** Inode, size and times of a file when it was read. Equal stamps mean equal content, unless it was being written. */
type Stamp = string;

export class Folder {
  readonly #folder: string;
  readonly #now: () => number;
  #stamps = new Map<string, Stamp>();

  constructor(folder: string, now: () => number = Date.now) {
    this.#folder = folder;
    this.#now = now;
  }

  /** Rejects when the folder cannot be listed. Without `waitForWriters`, files that are being written are read too. */
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
        // A write within the same tick of the file system's clock would not change the stamp: read it once more.
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
    // A modification time in the future (a wrong clock, tar) must not count as "being written" until then.
    const ageMs = Math.abs(this.#now() - Number(mtimeMs));
    return { stamp: `${ino} ${size} ${mtimeNs} ${ctimeNs}`, ageMs };
  }

  async #read(name: string): Promise<string> {
    return readFile(path.join(this.#folder, name), 'utf8');
  }
}

/** Hidden files belong to editors, or to the kubelet (`..data` of a mounted ConfigMap). */
function isManifest(name: string): boolean {
  return !name.startsWith('.') && extensions.includes(path.extname(name).toLowerCase());
}
