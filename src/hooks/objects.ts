// The BPF objects, beside the bundle in dist/ or where make puts them in the source tree, and what becomes of them in the kernel.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BpfMap, BpfProgram } from '../../native/index.ts';
import type { MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import type { SocketHook } from './cgroupattach.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type ObjectName = 'tc' | 'xdp' | 'sock' | 'gate';

export function readObject(name: ObjectName): Uint8Array {
  const file = `${name}.bpf.o`;
  const path = [join(here, file), join(here, '../../bpf/out', file)].find((candidate) =>
    existsSync(candidate),
  );
  if (path === undefined) throw new SluiceError('SLB_E_OBJECT', `no ${file} beside ${here}`);
  return readFileSync(path);
}

export interface Programs {
  readonly tcIn: BpfProgram;
  readonly tcOut: BpfProgram;
  readonly xdpIn: BpfProgram;
}

export type SocketPrograms = Readonly<Record<SocketHook, BpfProgram>>;

export type Maps = Readonly<Record<MapName, BpfMap>>;
