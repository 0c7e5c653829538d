// Everything a lab makes outside its own process (namespaces, bpffs, cgroup and temporary folders) carries its owner
// in the name, so that the next run can sweep what a killed one left, and several runs do not meet.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, rmSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeBpffsFolder, usualBpffs } from '../../../src/kernel/mounts.ts';

const netnsFolder = '/run/netns';

// A pid only means something in its own pid namespace: containers and chroots may share /sys with us.
const pidns = Number(/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? 0).toString(36);
// Sorts of owners: tests sweep what tests left; a demo that was asked to stay is only swept by the next demo.
let family = `sl-${pidns}-`;
const owner = (): string => `${family}${String(process.pid)}-`;

let serial = 0;
/** A name that no other lab uses, e.g. sl-u9gn8-4711-3-pod. */
export function ownName(label: string): string {
  return `${owner()}${String(++serial)}-${label}`;
}

/** A temporary folder that goes when its owner goes. */
export function ownFolder(label: string): string {
  const path = join(tmpdir(), ownName(label));
  mkdirSync(path);
  return path;
}

/** A folder for pins that goes when its owner goes; mounts the BPF file system where none is. */
export function ownBpffs(label: string): string {
  const path = join(usualBpffs, ownName(label));
  makeBpffsFolder(path);
  return path;
}

/** Where cgroup v2 is mounted; undefined when it is not. */
export function cgroupRoot(): string | undefined {
  return readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find((fields) => fields[2] === 'cgroup2')?.[1];
}

const list = (folder: string | undefined): string[] =>
  folder !== undefined && existsSync(folder) ? readdirSync(folder) : [];

function killInside(netns: string): void {
  const pids = spawnSync('ip', ['netns', 'pids', netns], { encoding: 'utf8' }).stdout.split('\n');
  for (const pid of pids.filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it ended by itself meanwhile
    }
  }
}

/** Removes everything whose name makes `stale` say yes. Synchronous: also called while the process exits. */
function remove(stale: (name: string) => boolean): void {
  for (const name of list(netnsFolder).filter(stale)) {
    killInside(name);
    spawnSync('ip', ['netns', 'del', name]);
  }
  for (const folder of [usualBpffs, tmpdir()]) {
    for (const name of list(folder).filter(stale))
      rmSync(join(folder, name), { recursive: true, force: true });
  }
  const cgroups = cgroupRoot();
  for (const name of list(cgroups).filter(stale)) {
    try {
      removeCgroup(join(cgroups ?? '', name));
    } catch {
      // still holds a dying process: the next sweep gets it
    }
  }
}

/** With those below, which would keep it; what else is in its folder goes with it. */
function removeCgroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  rmdirSync(path);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export function sweepOwn(): void {
  remove((name) => name.startsWith(owner()));
}

/** Sweeps what runs of this sort left that have ended. */
export function sweepDead(): void {
  remove((name) => name.startsWith(family) && !isAlive(Number(name.slice(family.length).split('-')[0])));
}

const exitNow = (): never => process.exit(130);

let installed = false;
/**
 * Sweeps what dead runs left, and sees to it that this run leaves nothing, however it ends (SIGKILL: the next run
 * does).
 */
export function sweepOnExit(): void {
  if (installed) return;
  installed = true;
  sweepDead();
  process.once('exit', sweepOwn);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, exitNow);
}

/** Owner of another sort than tests; before anything is made. */
export function ownAs(sort: string): void {
  family = `${sort}-${pidns}-`;
}

/** Leaves everything in place when this process ends. */
export function leaveBehind(): void {
  process.off('exit', sweepOwn);
}
