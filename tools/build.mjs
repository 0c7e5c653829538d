// Builds what is older than its sources: the BPF objects, the native module and the bundle, in this order. The first two do not
// depend on each other and are compiled side by side; the bundle copies both.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const parts = {
  bpf: ['make', '--no-print-directory', '--silent', '-C', 'bpf'],
  native: [process.execPath, 'tools/build-native.mjs'],
  bundle: [process.execPath, 'tools/bundle.mjs'],
};

/** Runs one part with its output passed on; resolves to whether it went well. */
function run(name) {
  const [command, ...args] = parts[name];
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
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
