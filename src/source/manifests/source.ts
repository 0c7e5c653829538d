// The source for machines without an API server: a folder of manifests.
import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, SluiceError } from '../../errors.ts';
import type { Source, SourceProblem, SourceSink } from '../objects.ts';
import { readManifest, type FileContent } from './document.ts';
import { Folder, quietMs, type Scan } from './folder.ts';
import { changes, merge, supersede, type Merged } from './merge.ts';

/** Events of the file system come in bursts; one scan serves a burst. */
const burstMs = 10;
/**
 * inotify misses changes (network file systems, a folder that is replaced): the folder is scanned at least this often.
 */
const rescanMs = 3000;

export class ManifestSource implements Source {
  readonly description: string;
  readonly #path: string;
  readonly #folder: Folder;
  readonly #files = new Map<string, FileContent>();
  #objects: Merged['objects'] = new Map();
  #reported = '';
  #sink: SourceSink | undefined;
  #watcher: FSWatcher | undefined;
  #running: Promise<void> | undefined;
  #woken = false;
  #wake: () => void = () => undefined;

  constructor(folder: string) {
    this.description = `manifests ${folder}`;
    this.#path = folder;
    this.#folder = new Folder(folder);
  }

  /** Resolves when everything in the folder has been delivered. */
  async start(sink: SourceSink): Promise<void> {
    await this.check();
    this.#sink = sink;
    this.#rewatch();
    const beingWritten = await this.#scan({ waitForWriters: false });
    sink.synced();
    this.#running = this.#run(beingWritten);
  }

  async stop(): Promise<void> {
    this.#sink = undefined;
    this.#unwatch();
    this.#wakeUp();
    await this.#running;
  }

  /** Does nothing: there is no API server to create the Event in. The log has the same fact. */
  record(): void {
    // see above
  }

  async check(): Promise<void> {
    const found = await stat(this.#path).catch((cause: unknown) => {
      throw new SluiceError('SLB_E_MANIFEST', `folder ${this.#path}: ${messageOf(cause)}`, { cause });
    });
    if (!found.isDirectory())
      throw new SluiceError('SLB_E_MANIFEST', `${this.#path} is not a folder: name one with --manifests`);
  }

  async #run(writtenAtStart: boolean): Promise<void> {
    let beingWritten = writtenAtStart;
    while (this.#sink !== undefined) {
      const woken = await this.#sleep(beingWritten ? quietMs : rescanMs);
      if (woken) await sleep(burstMs);
      else if (!beingWritten) this.#rewatch();
      beingWritten = await this.#scan({ waitForWriters: true });
    }
  }

  /** Wakes the loop. A change during a scan causes another one after it. */
  #wakeUp(): void {
    this.#woken = true;
    this.#wake();
  }

  /** True when woken before the time was over. */
  async #sleep(ms: number): Promise<boolean> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const woken = this.#woken;
    this.#woken = false;
    return woken;
  }

  /** The watch only tells that something changed. It is renewed at each rescan: the folder may have been replaced. */
  #rewatch(): void {
    this.#unwatch();
    try {
      this.#watcher = watch(this.#path, { persistent: false }, () => this.#wakeUp());
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      // The folder is missing, or the limit of inotify watches is reached: the rescans go on.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** Scans the folder and delivers changes. True when a file was being written: scan again soon. */
  async #scan(options: { readonly waitForWriters: boolean }): Promise<boolean> {
    try {
      const scan = await this.#folder.scan(options);
      this.#take(scan);
      this.#deliver(scan.failed.map(({ name, error }) => problem(name, messageOf(error))));
      return scan.beingWritten;
    } catch (error) {
      // The folder is missing or cannot be read: the objects that it defined stay in force.
      this.#deliver([problem(this.#path, messageOf(error))]);
      return false;
    }
  }

  #take(scan: Scan): void {
    const there = new Set(scan.names);
    for (const name of this.#files.keys()) if (!there.has(name)) this.#files.delete(name);
    for (const { name, text } of scan.changed) {
      this.#files.set(name, supersede(this.#files.get(name), readManifest(name, text)));
    }
  }

  #deliver(failures: readonly SourceProblem[]): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    const merged = merge(this.#files);
    const batch = changes(this.#objects, merged.objects);
    this.#objects = merged.objects;
    if (batch.length > 0) sink.changes(batch);
    const problems = [...failures, ...merged.problems];
    const report = JSON.stringify(problems);
    if (report === this.#reported) return;
    this.#reported = report;
    sink.problems(problems);
  }
}

function problem(where: string, message: string): SourceProblem {
  return { where, field: '', message };
}
