// Compiles the small BPF objects of the tests with the flags of the real ones.
import { mkdirSync, readFileSync, statSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { run } from '../run/process.ts';

const folder = fileURLToPath(new URL('fixtures/', import.meta.url));
const out = fileURLToPath(new URL('../../../build/fixtures/', import.meta.url));

/** The object of fixtures/NAME.bpf.c, compiled when its source is newer. */
export async function compileFixture(name: string): Promise<Uint8Array> {
  const source = `${folder}${name}.bpf.c`;
  const object = `${out}${name}.bpf.o`;
  if (!existsSync(object) || statSync(object).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(out, { recursive: true });
    const asm = `/usr/include/${(await run(['uname', '-m'])).stdout.trim()}-linux-gnu`;
    await run([
      ...['clang', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', '-Wall', '-Wextra', '-Werror'],
      ...['-idirafter', asm, '-c', source, '-o', object],
    ]);
  }
  return readFileSync(object);
}
