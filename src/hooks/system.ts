// The machine as the probes see it. Tests hand over another one.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { native, type Native } from '../../native/index.ts';

export interface System {
  kernelRelease(): string;
  /** undefined when the file is not there or not readable. */
  readText(path: string): string | undefined;
  exists(path: string): boolean;
  /** f_type of the file system that holds `path`, which exists. */
  fileSystemType(path: string): number;
  /** Returns what mount(8) complained about, "" when it worked. */
  mountBpf(path: string): string;
  native(): Native;
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
  mountBpf: (path) => {
    const { status, stderr, error } = spawnSync('mount', ['-t', 'bpf', 'bpf', path], { encoding: 'utf8' });
    return status === 0 ? '' : (error?.message ?? stderr.trim());
  },
  native,
};
