import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

const KERNEL_NAME_MAX = 15; // BPF_OBJ_NAME_LEN less the final zero; the kernel cuts what is longer without a word

/** Names of programs, maps and global functions, read from the objects that are loaded (abi.bpf.o never is). */
export function kernelNames(): string[] {
  if (!existsSync('bpf/out')) return ['bpf/out is missing: run make build first'];
  const problems: string[] = [];
  for (const object of readdirSync('bpf/out').filter(
    (name) => name.endsWith('.bpf.o') && name !== 'abi.bpf.o',
  )) {
    const table = execFileSync('llvm-readelf', ['--symbols', '--wide', `bpf/out/${object}`], {
      encoding: 'utf8',
    });
    for (const line of table.split('\n')) {
      const [, , , type, bind, , section, name = ''] = line.trim().split(/\s+/);
      const shared = bind === 'GLOBAL' && section !== 'UND' && (type === 'FUNC' || type === 'OBJECT');
      if (!shared || name.startsWith('_')) continue; // _license and the like are never kernel objects
      if (name.length > KERNEL_NAME_MAX)
        problems.push(`${object}: ${name} has ${name.length} characters, ${KERNEL_NAME_MAX} at most`);
    }
  }
  return problems;
}
