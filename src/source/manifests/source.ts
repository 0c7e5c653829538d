// Services from a folder of manifests: the stand-alone source.
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
/** Watches miss things (network file systems, a folder replaced): the folder is looked at this often in any case. */
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
  #rang = false;
  #wake: () => void = () => undefined;

  constructor(folder: string) {
    this.description = `manifests ${folder}`;
    this.#path = folder;
    this.#folder = new Folder(folder);
  }

  /** Resolves when everything that is in the folder has been handed over. */
  async start(sink: SourceSink): Promise<void> {
    await this.check();
    this.#sink = sink;
    this.#rewatch();
    const beingWritten = await this.#look({ waitForWriters: false });
    sink.synced();
    this.#running = this.#run(beingWritten);
  }

  async stop(): Promise<void> {
    this.#sink = undefined;
    this.#unwatch();
    this.#ring();
    await this.#running;
  }

  /** Files have no events: the log says the same. */
  record(): void {
    // nothing to write it to
  }

  async check(): Promise<void> {
    const found = await stat(this.#path).catch((cause: unknown) => {
      throw new SluiceError('SLB_E_MANIFEST', `folder ${this.#path}: ${messageOf(cause)}`, { cause });
    });
    if (!found.isDirectory()) throw new SluiceError('SLB_E_MANIFEST', `${this.#path} is not a folder`);
  }

  async #run(writtenAtStart: boolean): Promise<void> {
    let beingWritten = writtenAtStart;
    while (this.#sink !== undefined) {
      const woken = await this.#sleep(beingWritten ? quietMs : rescanMs);
      if (woken) await sleep(burstMs);
      else if (!beingWritten) this.#rewatch();
      beingWritten = await this.#look({ waitForWriters: true });
    }
  }

  /** Heard even when the loop does not sleep: what happens during a look is looked at next. */
  #ring(): void {
    this.#rang = true;
    this.#wake();
  }

  /** True when the bell rang before the time was over. */
  async #sleep(ms: number): Promise<boolean> {
    if (!this.#rang) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const rang = this.#rang;
    this.#rang = false;
    return rang;
  }

  /** The watch only says that something happened. It is made anew now and then: the folder may be another one by now. */
  #rewatch(): void {
    this.#unwatch();
    try {
      this.#watcher = watch(this.#path, { persistent: false }, () => this.#ring());
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      // No folder just now, or no inotify watch to be had: looking at intervals goes on without.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** Looks at the folder and hands over what changed. True when a file was being written: look again soon. */
  async #look(options: { readonly waitForWriters: boolean }): Promise<boolean> {
    try {
      const scan = await this.#folder.scan(options);
      this.#take(scan);
      this.#deliver(scan.failed.map(({ name, error }) => problem(name, messageOf(error))));
      return scan.beingWritten;
    } catch (error) {
      // The folder has gone (or cannot be read): what it defined stays in force until it says otherwise.
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
