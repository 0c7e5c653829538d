// The BPF objects: beside the bundle in dist/, or where make puts them in the source tree.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SluiceError } from './errors.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type ObjectName = 'tc' | 'xdp' | 'sock' | 'gate';

export function readObject(name: ObjectName): Uint8Array {
  const file = `${name}.bpf.o`;
  const path = [join(here, file), join(here, '../bpf/out', file)].find((candidate) => existsSync(candidate));
  if (path === undefined) throw new SluiceError('SLB_E_LOAD', `no ${file} beside ${here}: run make build`);
  return readFileSync(path);
}
