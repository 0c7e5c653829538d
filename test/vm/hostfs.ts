/** The host's root file system for the guest, read-only, by virtiofs. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unpack } from './apt.ts';
import { say } from './shell.ts';

/**
 * Debian 12's QEMU 7.2 was the last to bring a virtiofsd; that one runs with newer QEMUs, and on Debian 12 and 13
 * alike.
 */
export function fetchVirtiofsd(cache: string): string {
  const root = join(cache, 'virtiofsd');
  const program = join(root, 'usr/lib/qemu/virtiofsd');
  if (existsSync(program)) return program;
  say(`unpacking virtiofsd of bookworm into ${root}`);
  rmSync(`${root}.partial`, { recursive: true, force: true });
  unpack('bookworm', 'qemu-system-common', /^$/, `${root}.partial`);
  renameSync(`${root}.partial`, root);
  return program;
}

// The bind mount is in a mount namespace of the daemon's own and remounted read-only there: no guest can write to the
// host.
const SHARE = `
  mount --bind / "$1/root" && mount -o remount,bind,ro "$1/root"
  exec "$2" --socket-path="$1/host.sock" -o source="$1/root" -o sandbox=chroot -o cache=always -o log_level=err -f`;

export interface HostFiles {
  readonly socket: string;
  stop(): void;
}

/** Serves one QEMU: the daemon ends when its client does. */
export async function serveHostFiles(virtiofsd: string, dir: string): Promise<HostFiles> {
  mkdirSync(join(dir, 'root'));
  const args = ['--mount', '--propagation', 'private', 'sh', '-ec', SHARE, 'sh', dir, virtiofsd];
  const log = openSync(join(dir, 'virtiofsd.log'), 'a'); // it grumbles at every end of a guest
  const daemon = spawn('unshare', args, { stdio: ['ignore', log, log] });
  closeSync(log);
  const stop = (): void => void daemon.kill('SIGTERM');
  process.once('exit', stop);
  daemon.once('close', () => process.off('exit', stop));
  const socket = join(dir, 'host.sock');
  for (let waited = 0; !existsSync(socket); waited += 20) {
    if (daemon.exitCode !== null || waited > 10_000)
      throw new Error(`virtiofsd did not start: ${readFileSync(join(dir, 'virtiofsd.log'), 'utf8')}`);
    await sleep(20);
  }
  return { socket, stop };
}
