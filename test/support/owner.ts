// Everything a lab makes outside its own process (namespaces, bpffs and cgroup folders) carries its owner in the name, so
// that the next run can sweep what a killed one left, and several runs do not meet.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, readlinkSync, rmSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

const netnsFolder = '/run/netns';
export const bpffsRoot = '/sys/fs/bpf';

// A pid only means something in its own pid namespace: containers and chroots may share /sys with us.
const pidns = Number(/\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? 0).toString(36);
const family = `sl-${pidns}-`;
export const owner = `${family}${String(process.pid)}-`;

let serial = 0;
/** A name that no other lab uses, e.g. sl-u9gn8-4711-3-pod. */
export function ownName(label: string): string {
  return `${owner}${String(++serial)}-${label}`;
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

/** Removes what carries one of our names for which `stale` holds. Synchronous: also called while the process exits. */
function remove(stale: (name: string) => boolean): void {
  for (const name of list(netnsFolder).filter(stale)) {
    killInside(name);
    spawnSync('ip', ['netns', 'del', name]);
  }
  for (const name of list(bpffsRoot).filter(stale)) {
    rmSync(join(bpffsRoot, name), { recursive: true, force: true });
  }
  const cgroups = cgroupRoot();
  for (const name of list(cgroups).filter(stale)) {
    try {
      rmdirSync(join(cgroups ?? '', name));
    } catch {
      // still holds a dying process: the next sweep gets it
    }
  }
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
  remove((name) => name.startsWith(owner));
}

let installed = false;
/** Sweeps what dead runs left, and sees to it that this run leaves nothing, however it ends (SIGKILL: the next run does). */
export function sweepOnExit(): void {
  if (installed) return;
  installed = true;
  remove((name) => name.startsWith(family) && !isAlive(Number(name.slice(family.length).split('-')[0])));
  process.once('exit', sweepOwn);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(130));
  }
}
