/** Debian's kernels, from the cache or unpacked into it. */
import { existsSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { unpack } from './apt.ts';
import { run, say } from './shell.ts';

export interface Kernel {
  /** What `uname -r` will say. */
  readonly release: string;
  readonly image: string;
  /** Holds lib/modules/RELEASE. */
  readonly root: string;
}

/** Debian suites by the name used on the command line: the floor, two long-term ones, and the newest there is. */
export const SUITES: Readonly<Record<string, string>> = {
  '5.10': 'bullseye',
  '6.1': 'bookworm',
  '6.12': 'bookworm-backports',
  newest: 'trixie-backports',
};

const META_PACKAGE = 'linux-image-cloud-amd64';
/** From 7.2 on the image comes in parts of its own: linux-binary-…, linux-modules-…. */
const KERNEL_PARTS = /^linux-(image|binary|modules|base)-\S*cloud-amd64$/;

function unpacked(root: string): Kernel | undefined {
  const modules = join(root, 'lib/modules');
  const [release] = existsSync(modules) ? readdirSync(modules) : [];
  if (release === undefined) return undefined;
  const images = [join(root, 'boot', `vmlinuz-${release}`), join(modules, release, 'vmlinuz')];
  const image = images.find((path) => existsSync(path));
  return image === undefined ? undefined : { release, image, root };
}

/** The kernel of a suite. What is in the cache stays: delete its folder to get a newer one. */
export function fetchKernel(suite: string, cache: string): Kernel {
  const root = join(cache, 'kernels', suite);
  const cached = unpacked(root);
  if (cached !== undefined) return cached;
  say(`unpacking ${META_PACKAGE} of ${suite} into ${root}`);
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  const packages = unpack(suite, META_PACKAGE, KERNEL_PARTS, partial);
  // Newer packages have usr/lib only; depmod and modprobe look below lib.
  if (!existsSync(join(partial, 'lib'))) symlinkSync('usr/lib', join(partial, 'lib'));
  const kernel = unpacked(partial);
  if (kernel === undefined) throw new Error(`${packages.join(', ')}: no kernel image or modules inside`);
  run('depmod', ['-b', partial, kernel.release]);
  rmSync(root, { recursive: true, force: true });
  renameSync(partial, root);
  return fetchKernel(suite, cache);
}
