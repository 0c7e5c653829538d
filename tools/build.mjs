// Builds what is older than its sources: the BPF objects, the native module and the bundle, in this order. The first
// two do not depend on each other and are compiled side by side; the bundle copies both.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Seconds that a part may take: a minute at most on two slow processors. */
const partSeconds = 600;

/** What a part is called while it is waited for, and its command. */
const parts = {
  bpf: ['BPF objects', 'make', '--no-print-directory', '--silent', '-C', 'bpf'],
  native: ['native module', process.execPath, 'tools/build-native.mjs'],
  bundle: ['bundle', process.execPath, 'tools/bundle.mjs'],
};

/** Runs one part with its output passed on; resolves to whether it went well. */
function run(name) {
  const [what, ...command] = parts[name];
  const args = [String(partSeconds), `build: ${what}`, ...command];
  return new Promise((resolve) => {
    const child = spawn(join(root, 'tools/patiently'), args, { cwd: root, stdio: 'inherit' });
    child.on('error', (error) => {
      console.error(`build: ${name}: ${error.message}`);
      resolve(false);
    });
    child.on('close', (code, signal) => {
      if (code !== 0) console.error(`build: ${name} failed (${signal ?? `exit code ${code}`})`);
      resolve(code === 0);
    });
  });
}

async function build() {
  const compiled = await Promise.all([run('bpf'), run('native')]);
  return compiled.every(Boolean) && (await run('bundle'));
}

process.exitCode = (await build()) ? 0 : 1;
