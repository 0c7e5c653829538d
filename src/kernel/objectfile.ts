// The BPF objects, beside the bundle in dist/ or where make puts them in the source tree.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SluiceError } from '../errors.ts';

const here = dirname(fileURLToPath(import.meta.url));

export type ObjectName = 'tc' | 'tc-conntrack' | 'xdp' | 'xdp-conntrack' | 'sock' | 'gate' | 'conntrack';

export function readObject(name: ObjectName): Uint8Array {
  const file = `${name}.bpf.o`;
  const path = [join(here, file), join(here, '../../bpf/out', file)].find((candidate) =>
    existsSync(candidate),
  );
  if (path === undefined) throw new SluiceError('SLB_E_OBJECT', `no ${file} beside ${here}`);
  return readFileSync(path);
}

/** What is loaded; with `conntrack` the programs that ask netfilter for connections, which not every kernel takes. */
export function readObjects({ conntrack }: { readonly conntrack: boolean }) {
  return {
    tc: readObject(conntrack ? 'tc-conntrack' : 'tc'),
    xdp: readObject(conntrack ? 'xdp-conntrack' : 'xdp'),
    sock: readObject('sock'),
    gate: readObject('gate'),
  };
}
