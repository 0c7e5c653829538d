// Builds native/build/Release/sluice.node with node-gyp when a source is newer than it. The headers are those of the
// Node that runs this script: nothing is downloaded. With --asan, an instrumented module is built in a folder of its
// own.
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const asan = process.argv.includes('--asan');
const folder = asan ? join(root, 'build/asan') : join(root, 'native');
const output = join(folder, 'build/Release/sluice.node');

function headersOfThisNode() {
  for (const prefix of [dirname(dirname(process.execPath)), '/usr/local', '/usr']) {
    if (existsSync(join(prefix, 'include/node/node_api.h'))) return prefix;
  }
  throw new Error(
    `no Node headers beside ${process.execPath}: install a Node with include/node (Debian: libnode-dev)`,
  );
}

function isCurrent() {
  if (!existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  const sources = readdirSync(join(root, 'native/src')).map((name) => join('native/src', name));
  return ['native/binding.gyp', 'package-lock.json', ...sources].every(
    (path) => statSync(join(root, path)).mtimeMs < built,
  );
}

/** gyp builds beside the binding file: the instrumented module gets a folder that looks like native/. */
function mirrorNative() {
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(root, 'native/binding.gyp'), join(folder, 'binding.gyp'));
  if (!existsSync(join(folder, 'src'))) symlinkSync('../../native/src', join(folder, 'src'));
}

function build() {
  if (asan) mirrorNative();
  const gyp = join(
    dirname(createRequire(import.meta.url).resolve('node-gyp/package.json')),
    'bin/node-gyp.js',
  );
  const args = [gyp, 'configure', 'build', '--jobs=max', `--directory=${folder}`, '--loglevel=error'];
  // By environment: below `npm run` a nodedir of the user's npm settings is there too, and would win over an argument.
  const npm_config_nodedir = headersOfThisNode();
  const { status, signal } = spawnSync(process.execPath, args, {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, npm_config_nodedir, GYP_DEFINES: `asan=${asan ? '1' : '0'}` },
  });
  if (status !== 0) {
    console.error(`build-native: node-gyp failed (${signal ?? `exit code ${status}`})`);
    process.exitCode = 1;
  }
}

if (!isCurrent()) build();
