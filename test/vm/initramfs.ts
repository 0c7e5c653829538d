/** The first root file system of the guest: busybox, the modules that reach the host's files, the job. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Kernel } from './kernels.ts';
import { run } from './shell.ts';

const BUSYBOX = '/bin/busybox';
/** Without these there is no root file system; everything else is modprobed from the host's copy once it is mounted. */
const MODULES = ['virtio_pci', 'virtio_console', 'virtiofs', 'overlay'];

/** Modules with all they need, in the order to insert them; what is built in has no file. */
function moduleFiles(kernel: Kernel): string[] {
  const files = new Set<string>();
  for (const name of MODULES) {
    const lines = run('modprobe', ['-d', kernel.root, '-S', kernel.release, '--show-depends', name]).split(
      '\n',
    );
    for (const line of lines) {
      const [what, file] = line.split(' ');
      if (what === 'insmod' && file !== undefined) files.add(file);
    }
  }
  return [...files];
}

function copyModule(file: string, to: string): string {
  const name = basename(file).replace(/\.(xz|gz)$/, '');
  const out = openSync(join(to, name), 'w');
  const applet = file.endsWith('.xz') ? 'xzcat' : file.endsWith('.gz') ? 'zcat' : 'cat';
  execFileSync(BUSYBOX, [applet, file], { stdio: ['ignore', out, 'inherit'] });
  closeSync(out);
  return name;
}

/** Writes the archive to `path`. `files` go to its root by name: the job and what it has to know. */
export function writeInitramfs(kernel: Kernel, path: string, files: Readonly<Record<string, string>>): void {
  const root = mkdtempSync(join(tmpdir(), 'sluice-initramfs-'));
  try {
    for (const dir of ['bin', 'modules', 'dev', 'proc', 'sys', 'host', 'rw', 'new'])
      mkdirSync(join(root, dir));
    copyFileSync(BUSYBOX, join(root, 'bin/busybox'));
    symlinkSync('busybox', join(root, 'bin/sh'));
    const modules = moduleFiles(kernel).map((file) => copyModule(file, join(root, 'modules')));
    writeFileSync(join(root, 'modules.list'), `${modules.join('\n')}\n`);
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
    chmodSync(join(root, 'init'), 0o755);
    run('sh', ['-ec', 'cd "$1" && find . | busybox cpio -o -H newc > "$2" 2>/dev/null', 'sh', root, path]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
