// Bundles the agent and the command line into dist/: sluice.mjs, a chunk for every part that is loaded when needed, and
// beside them what cannot be bundled: the native module and the BPF objects. Does nothing when dist/ is newer than all
// of it.
import { copyFile, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
/** Built here and then moved: an agent that starts meanwhile finds either bundle whole. */
const fresh = join(root, 'build/dist');
const stamp = join(dist, '.stamp');

const objects = ['tc', 'tc-conntrack', 'xdp', 'xdp-conntrack', 'sock', 'gate', 'conntrack'].map(
  (name) => `bpf/out/${name}.bpf.o`,
);
const nativeModule = 'native/build/Release/sluice.node';

// CommonJS packages in an ES module bundle call require() for Node's own modules.
const banner = `import { createRequire as bundleRequire } from 'node:module'; const require = bundleRequire(import.meta.url);`;

async function modified(path) {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return undefined;
  }
}

async function newest(folder) {
  const entries = await readdir(join(root, folder), { recursive: true });
  const times = await Promise.all(entries.map((entry) => modified(join(root, folder, entry))));
  return Math.max(...times);
}

async function upToDate(copied) {
  const built = await modified(stamp);
  if (built === undefined) return false;
  const files = [...copied, 'package.json', 'package-lock.json', 'native/index.ts', 'tools/bundle.mjs'];
  const times = await Promise.all(files.map((file) => modified(join(root, file))));
  return Math.max(...times, await newest('src')) < built;
}

async function bundle() {
  await build({
    absWorkingDir: root,
    entryPoints: { sluice: 'src/main.ts' },
    outdir: fresh,
    outExtension: { '.js': '.mjs' },
    chunkNames: 'chunk-[hash]',
    bundle: true,
    splitting: true, // a verb that only reads the API must not parse the whole agent
    format: 'esm',
    platform: 'node',
    target: 'node20',
    banner: { js: banner },
    minifySyntax: true,
    minifyWhitespace: true, // names stay readable in stack traces
    legalComments: 'linked',
    logLevel: 'warning',
  });
}

async function main() {
  const copied = [nativeModule, ...objects];
  for (const file of copied) {
    if ((await modified(join(root, file))) === undefined)
      throw new Error(`${file} is missing: build it first`);
  }
  if (await upToDate(copied)) return;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  await bundle();
  for (const file of copied) await copyFile(join(root, file), join(fresh, basename(file)));
  await writeFile(join(fresh, '.stamp'), '');
  await rm(dist, { recursive: true, force: true });
  await rename(fresh, dist);
}

try {
  await main();
} catch (error) {
  console.error(`bundle: ${error.message}`);
  process.exitCode = 1;
}
