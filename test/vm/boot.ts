/** One boot of one kernel in QEMU, by emulation (no KVM wanted), with the host's files underneath. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serveHostFiles } from './hostfs.ts';
import { writeInitramfs } from './initramfs.ts';
import { Ticker, waitsFor } from '../support/run/heartbeat.ts';
import type { Kernel } from './kernels.ts';
import { say } from './shell.ts';

export interface Job {
  readonly command: string;
  readonly dir: string;
  /** A guest that says nothing for so long hangs. */
  readonly silentSeconds: number;
  readonly onOutput: (text: string) => void;
}

export interface Ended {
  /** Exit code of the command; undefined when the guest died, hung or never came up. */
  readonly code: number | undefined;
  readonly console: string;
}

const here = dirname(fileURLToPath(import.meta.url));

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const MEMORY_MB = 2048;

function qemuArguments(kernel: Kernel, dir: string, socket: string): string[] {
  return [
    ...[
      '-machine',
      'q35',
      '-accel',
      'tcg,thread=multi,tb-size=512',
      '-cpu',
      'max',
      '-smp',
      '2',
      '-m',
      '2048',
    ],
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${dir}/console`],
    ...['-kernel', kernel.image, '-initrd', `${dir}/initramfs`, '-append', 'console=ttyS0 panic=-1'],
    // virtiofs works on memory shared with its daemon.
    ...[
      '-object',
      `memory-backend-memfd,id=memory,size=${MEMORY_MB}M,share=on`,
      '-numa',
      'node,memdev=memory',
    ],
    ...['-chardev', `socket,id=host,path=${socket}`],
    ...['-device', 'vhost-user-fs-pci,queue-size=1024,chardev=host,tag=host', '-device', 'virtio-serial-pci'],
    ...['-chardev', 'stdio,id=output,signal=off', '-device', 'virtserialport,chardev=output,name=output'],
    ...[
      '-chardev',
      `file,id=result,path=${dir}/result`,
      '-device',
      'virtserialport,chardev=result,name=result',
    ],
  ];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

export async function boot(kernel: Kernel, virtiofsd: string, job: Job): Promise<Ended> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-vm-'));
  try {
    const settings = {
      RELEASE: kernel.release,
      MODULES: join(kernel.root, 'lib/modules', kernel.release),
      JOB_DIR: job.dir,
      JOB_PATH: process.env['PATH'] ?? '',
    };
    writeInitramfs(kernel, join(dir, 'initramfs'), {
      init: read(join(here, 'init.sh')),
      second: read(join(here, 'second.sh')),
      job: `${job.command}\n`,
      settings: Object.entries(settings)
        .map(([name, value]) => `${name}=${quote(value)}\n`)
        .join(''),
    });
    const host = await serveHostFiles(virtiofsd, dir);
    await emulate(qemuArguments(kernel, dir, host.socket), job);
    host.stop();
    const code = /^\d+/.exec(read(join(dir, 'result')));
    return { code: code === null ? undefined : Number(code[0]), console: read(join(dir, 'console')) };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function emulate(args: readonly string[], job: Job): Promise<void> {
  return new Promise((resolve, reject) => {
    // stdin stays open although nothing is sent: at its end QEMU would close the port and the guest hang writing.
    const qemu = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const stop = (): boolean => qemu.kill('SIGKILL');
    const giveUp = (): void => {
      say(`the guest has said nothing for ${job.silentSeconds} s, and is ended`);
      stop();
    };
    const timer = setTimeout(giveUp, job.silentSeconds * 1000);
    const since = new Map([['silence of the guest', Date.now()]]);
    // A little later than the test run in the guest, which has the same to say.
    const ticker = new Ticker(() => waitsFor('kernels', since), console.log, 9_500);
    process.once('exit', stop);
    qemu.stdout.setEncoding('utf8').on('data', (text: string) => {
      timer.refresh();
      ticker.spoke();
      since.set('silence of the guest', Date.now());
      job.onOutput(text);
    });
    qemu.on('error', reject);
    qemu.on('close', () => {
      clearTimeout(timer);
      ticker.stop();
      process.off('exit', stop);
      resolve();
    });
  });
}
