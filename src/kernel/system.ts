// The parts of the system that probes use; tests replace them.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { release } from 'node:os';
import { native, type Native } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import { readObject, type ObjectName } from './objectfile.ts';

export interface System {
  kernelRelease(): string;
  /** undefined when the file does not exist or cannot be read. */
  readText(path: string): string | undefined;
  exists(path: string): boolean;
  /** f_type of the file system that holds `path`, which exists. */
  fileSystemType(path: string): number;
  isWritable(path: string): boolean;
  /** Returns the error of mount(8), "" for success. */
  mountBpf(path: string): string;
  native(): Native;
  /** A BPF object's file. */
  object(name: ObjectName): Uint8Array;
}

export const thisSystem: System = {
  kernelRelease: release,
  exists: existsSync,
  readText: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
  fileSystemType: (path) => statfsSync(path).type,
  isWritable: (path) => {
    try {
      accessSync(path, constants.W_OK);
      return true;
    } catch {
      return false;
    }
  },
  mountBpf,
  native,
  object: readObject,
};

const mountSeconds = 10;

/** Mounts under a flock(2) on the bare folder: a second mount by another process would hide the pins of the first. */
function mountBpf(path: string): string {
  const bare = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const limit = performance.now() + mountSeconds * 1000;
    while (!native().flock(bare)) {
      if (performance.now() > limit) return `another process has held the lock for ${String(mountSeconds)} s`;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
    const isBare = statSync(path).dev === fstatSync(bare).dev;
    return isBare ? mount(path) : '';
  } catch (error) {
    return messageOf(error);
  } finally {
    closeSync(bare);
  }
}

function mount(path: string): string {
  const { status, stderr, error } = spawnSync('mount', ['-t', 'bpf', 'bpf', path], {
    encoding: 'utf8',
    timeout: mountSeconds * 1000,
  });
  return status === 0 ? '' : (error?.message ?? stderr.trim());
}
