// One agent per --bpffs folder: ids of services and backends are allocated by one process. The lock is a flock(2) on
// the folder: the kernel releases it when the process ends, and it holds across mount, network and pid namespaces.
import { closeSync, constants, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { native } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { makeBpffsFolder } from './mounts.ts';

/** How long to wait: in a rolling update the new pod may start before the old one has ended. */
const patienceMs = 10_000;
const retryMs = 100;

export class FolderLock {
  readonly #folder: string;
  #fd: number;

  constructor(folder: string, fd: number) {
    this.#folder = folder;
    this.#fd = fd;
  }

  /** Locks the folder again if it was removed and created again. Throws SLB_E_LOCKED. */
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

/**
 * Creates the folder if needed, and waits for the lock. Calls `onWait` once with its holder. Rejects with SLB_E_LOCKED.
 */
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

/** Locks without waiting. undefined when there is no such folder; throws SLB_E_LOCKED. */
export function lockNow(folder: string): FolderLock | undefined {
  if (!existsSync(folder)) return undefined;
  const fd = openLocked(folder);
  if (fd === undefined) throw lockedError(folder);
  return new FolderLock(folder, fd);
}

/** undefined when another process has the lock. */
function openLocked(folder: string): number | undefined {
  const fd = openFolder(folder);
  try {
    const locked = native().flock(fd);
    // The last holder may have removed the folder.
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
  return new SluiceError('SLB_E_LOCKED', `${folder} is locked by ${holderOf(folder)}`);
}

/** From /proc/locks, which lists processes of this pid namespace and those below. */
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

/** Major and minor number as in /proc/locks. */
function deviceOf(dev: bigint): string {
  const major = (dev >> 8n) & 0xfffn;
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xfff00n);
  return [major, minor].map((part) => part.toString(16).padStart(2, '0')).join(':');
}
