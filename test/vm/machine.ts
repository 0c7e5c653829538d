/** What the host needs: busybox, kmod and a QEMU that does not make newer kernels panic (7.2 does, 10 does not). */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { KEYRING, mirror } from './apt.ts';
import { run, runLong, say } from './shell.ts';

const QEMU_MAJOR = 8;
const BACKPORTS_LIST = '/etc/apt/sources.list.d/sluice-backports.list';

function qemuMajor(): number {
  try {
    return Number(/version (\d+)/.exec(run('qemu-system-x86_64', ['--version']))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function install(packages: readonly string[], release?: string): void {
  say(`installing packages${release === undefined ? '' : ` from ${release}`}: ${packages.join(' ')}`);
  const from = release === undefined ? [] : ['-t', release];
  const command = ['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...from, ...packages];
  runLong(300, 'reading package lists', ['apt-get', 'update', '-qq']);
  runLong(1800, 'installing packages', command, { DEBIAN_FRONTEND: 'noninteractive' });
}

/** Debian 12 has a good QEMU in its backports only; the list is there for this one installation. */
function installQemu(): void {
  const os = readFileSync('/etc/os-release', 'utf8');
  if (!/^VERSION_CODENAME=bookworm$/m.test(os)) {
    install(['qemu-system-x86']);
    return;
  }
  writeFileSync(BACKPORTS_LIST, `deb [signed-by=${KEYRING}] ${mirror()} bookworm-backports main\n`);
  try {
    install(['qemu-system-x86'], 'bookworm-backports');
  } finally {
    rmSync(BACKPORTS_LIST, { force: true });
  }
}

export function prepareMachine(): void {
  const missing = [];
  if (!existsSync('/bin/busybox')) missing.push('busybox-static');
  if (!existsSync('/sbin/depmod')) missing.push('kmod');
  if (missing.length > 0) install(missing);
  if (qemuMajor() < QEMU_MAJOR) installQemu();
}
