// The file systems that the agent needs: bpf for pins, cgroup2 for socket hooks.
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { messageOf, SluiceError } from '../errors.ts';
import { thisSystem, type System } from './system.ts';

const bpfMagic = 0xcafe4a11;
const cgroup2Magic = 0x63677270;
export const usualBpffs = '/sys/fs/bpf';

export interface Found {
  readonly ok: boolean;
  readonly detail: string;
}

/** Whether pins can be created under `folder`, which need not exist. Mounts /sys/fs/bpf if it is not mounted. */
export function findBpffs(folder: string, system: System): Found {
  const path = resolve(folder);
  const isUsual = path === usualBpffs || path.startsWith(`${usualBpffs}/`);
  if (isOnBpffs(path, system)) return writable(path, path, system);
  if (!isUsual) return { ok: false, detail: `${path} is not on a BPF file system` };
  const obstacle = obstacleTo(usualBpffs, system);
  if (obstacle !== undefined) return { ok: false, detail: obstacle };
  const complaint = system.mountBpf(usualBpffs);
  if (complaint !== '') return { ok: false, detail: `mounting ${usualBpffs}: ${complaint}` };
  if (!isOnBpffs(path, system)) return { ok: false, detail: `${path} is not on a BPF file system` };
  return writable(path, `${path}, mounted just now`, system);
}

/**
 * Creates a folder for pins and its parents, and mounts the BPF file system if needed. One mkdir() at a time: at an
 * empty mount point of sysfs it fails with ENOENT, and Node's recursive mkdir would retry forever. Throws
 * SLB_E_NO_BPFFS.
 */
export function makeBpffsFolder(folder: string, system: System = thisSystem): void {
  const { ok, detail } = findBpffs(folder, system);
  if (!ok) throw new SluiceError('SLB_E_NO_BPFFS', detail);
  const missing: string[] = [];
  for (let path = resolve(folder); !system.exists(path); path = dirname(path)) missing.unshift(path);
  for (const path of missing) makeOne(path);
}

function makeOne(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another process may have created it.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new SluiceError('SLB_E_NO_BPFFS', messageOf(error), { cause: error });
  }
}

function isOnBpffs(path: string, system: System): boolean {
  // f_type is signed on some architectures.
  return system.fileSystemType(nearest(path, system)) >>> 0 === bpfMagic;
}

function writable(path: string, detail: string, system: System): Found {
  const folder = nearest(path, system);
  if (system.isWritable(folder)) return { ok: true, detail };
  return { ok: false, detail: `${folder} is not writable: mounted read-only?` };
}

/** The folder itself, or the nearest parent that exists. */
function nearest(path: string, system: System): string {
  return system.exists(path) ? path : nearest(dirname(path), system);
}

/** Why the BPF file system cannot be mounted there; undefined: it can be tried. */
function obstacleTo(place: string, system: System): string | undefined {
  if (!system.exists(place)) return `${place} does not exist: is sysfs mounted, and has the kernel BPF?`;
  const type = mounts(system).findLast(([, path]) => path === place)?.[2];
  // sysfs itself: a bind mount of the host's folder, as in a container.
  return type === undefined || type === 'sysfs'
    ? undefined
    : `${place} has a file system of type ${type} mounted: unmount that, or mount a BPF file system over it`;
}

function mounts(system: System): string[][] {
  return (system.readText('/proc/mounts') ?? '').split('\n').map((line) => line.split(' '));
}

/** The folder, or with "auto" the first mount of cgroup v2. */
export function findCgroup(wanted: string, system: System): Found {
  if (wanted !== 'auto') {
    if (!system.exists(wanted)) return { ok: false, detail: `${wanted} does not exist` };
    const ok = system.fileSystemType(wanted) >>> 0 === cgroup2Magic;
    return { ok, detail: ok ? wanted : `${wanted} is not on cgroup v2` };
  }
  const path = mounts(system).find(([, , type]) => type === 'cgroup2')?.[1];
  return path === undefined
    ? { ok: false, detail: 'no cgroup2 in /proc/mounts' }
    : { ok: true, detail: path };
}
