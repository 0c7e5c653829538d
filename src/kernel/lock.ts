// One process a folder: ids of services and backends are handed out by the agent that has loaded the maps in it. The lock is the
// kernel's own (flock on the folder), so it goes with the process however that ends, and it counts for everyone who sees the
// folder, from whatever mount, network or pid namespace.
import { closeSync, constants, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { native } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { makeBpffsFolder } from './mounts.ts';

/** In a rolling update the new pod may start before the old one has ended. */
const patienceMs = 10_000;
const retryMs = 100;

export class FolderLock {
  readonly #folder: string;
  #fd: number;

  constructor(folder: string, fd: number) {
    this.#folder = folder;
    this.#fd = fd;
  }

  /** A folder that was removed and made again is another one, and its lock another lock. Throws when that is taken. */
  renew(): void {
    if (isAt(this.#fd, this.#folder)) return;
    const fd = openLocked(this.#folder);
    if (fd === undefined) throw lockedError(this.#folder);
    this.release();
    this.#fd = fd;
  }

  release(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

/** Makes the folder if need be, and waits a while for one that is about to end; tells `onWait` once who that is. */
export async function lockFolder(
  folder: string,
  onWait: (holder: string) => void,
  waitMs = patienceMs,
): Promise<FolderLock> {
  const limit = performance.now() + waitMs;
  for (let told = false; ; told = true) {
    const fd = openLocked(folder);
    if (fd !== undefined) return new FolderLock(folder, fd);
    if (!told) onWait(holderOf(folder));
    if (performance.now() > limit) throw lockedError(folder);
    await sleep(retryMs);
  }
}

/** For a command that is over in a moment: undefined when there is no such folder. */
export function lockNow(folder: string): FolderLock | undefined {
  if (!existsSync(folder)) return undefined;
  const fd = openLocked(folder);
  if (fd === undefined) throw lockedError(folder);
  return new FolderLock(folder, fd);
}

/** undefined when another has it. */
function openLocked(folder: string): number | undefined {
  const fd = openFolder(folder);
  try {
    const locked = native().flock(fd);
    // Who had it may have removed the folder as the last thing it did.
    if (locked && isAt(fd, folder)) return fd;
    closeSync(fd);
    return locked ? openLocked(folder) : undefined;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openFolder(folder: string): number {
  makeBpffsFolder(folder);
  try {
    return openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw new SluiceError('SLB_E_NO_BPFFS', messageOf(error), { cause: error });
  }
}

function isAt(fd: number, folder: string): boolean {
  const here = statSync(`/proc/self/fd/${String(fd)}`, { bigint: true, throwIfNoEntry: false });
  const there = statSync(folder, { bigint: true, throwIfNoEntry: false });
  return here !== undefined && here.ino === there?.ino && here.dev === there.dev;
}

function lockedError(folder: string): SluiceError {
  return new SluiceError('SLB_E_LOCKED', `${folder} is held by ${holderOf(folder)}`);
}

/** /proc/locks shows the locks of processes in our own pid namespace and below. */
export function holderOf(folder: string, table = '/proc/locks'): string {
  const place = statSync(folder, { bigint: true, throwIfNoEntry: false });
  if (place === undefined) return 'no process any more';
  const held = new RegExp(
    `^\\d+: FLOCK +ADVISORY +WRITE +(\\d+) ${deviceOf(place.dev)}:${String(place.ino)} `,
    'm',
  );
  const pid = held.exec(readFileSync(table, 'utf8'))?.[1];
  return pid === undefined ? 'a process in another pid namespace' : `process ${pid}`;
}

/** As the kernel prints it there: major and minor number. */
function deviceOf(dev: bigint): string {
  const major = (dev >> 8n) & 0xfffn;
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xfff00n);
  return [major, minor].map((part) => part.toString(16).padStart(2, '0')).join(':');
}
