// The two file systems that the agent needs: BPF for pins, cgroup v2 for socket hooks.
import { dirname, resolve } from 'node:path';
import type { System } from './system.ts';

const bpfMagic = 0xcafe4a11;
const cgroup2Magic = 0x63677270;
const usualBpffs = '/sys/fs/bpf';

export interface Found {
  readonly ok: boolean;
  readonly detail: string;
}

/** Whether pins can be made under `folder`, which need not exist yet. Mounts the usual place when that is what is missing. */
export function findBpffs(folder: string, system: System): Found {
  const path = resolve(folder);
  if (isOnBpffs(path, system)) return { ok: true, detail: path };
  const isUsual = path === usualBpffs || path.startsWith(`${usualBpffs}/`);
  if (!isUsual || !system.exists(usualBpffs))
    return { ok: false, detail: `${path} is not on a BPF file system` };
  const complaint = system.mountBpf(usualBpffs);
  if (complaint !== '') return { ok: false, detail: `mounting ${usualBpffs}: ${complaint}` };
  return { ok: isOnBpffs(path, system), detail: `${path}, mounted just now` };
}

function isOnBpffs(path: string, system: System): boolean {
  let existing = path;
  while (!system.exists(existing)) existing = dirname(existing);
  // Some kernels' types come as signed numbers.
  return system.fileSystemType(existing) >>> 0 === bpfMagic;
}

/** The folder itself, or with "auto" where cgroup v2 is mounted. */
export function findCgroup(wanted: string, system: System): Found {
  if (wanted !== 'auto') {
    if (!system.exists(wanted)) return { ok: false, detail: `${wanted} does not exist` };
    const ok = system.fileSystemType(wanted) >>> 0 === cgroup2Magic;
    return { ok, detail: ok ? wanted : `${wanted} is not on cgroup v2` };
  }
  const mounts = (system.readText('/proc/mounts') ?? '').split('\n').map((line) => line.split(' '));
  const path = mounts.find(([, , type]) => type === 'cgroup2')?.[1];
  return path === undefined
    ? { ok: false, detail: 'no cgroup2 in /proc/mounts' }
    : { ok: true, detail: path };
}
