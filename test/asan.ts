// The contract of the native module once more, under AddressSanitizer and UndefinedBehaviorSanitizer: a slip in C++
// that goes well by luck fails here. Node itself leaks on purpose when it ends; only stacks through our module count.
import t from 'tap';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const module = `${root}build/asan/build/Release/sluice.node`;

async function runInstrumented(file: string): Promise<{ code: number | null; tap: string; report: string }> {
  const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
  const child = spawn(process.execPath, ['--import=tsx', file], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      SLUICE_NATIVE: module,
      LD_PRELOAD: runtime, // must come first in the process, and node was not linked with it
      ASAN_OPTIONS: 'detect_leaks=1:abort_on_error=0',
      LSAN_OPTIONS: 'exitcode=0', // its verdict on Node is not ours
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  });
  let tap = '';
  let report = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (tap += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (report += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, tap, report };
}

/**
 * Paragraphs of a leak report that name the module. Node-API gives the handle of a promise back when it is settled
 * and not otherwise: a worker that ends before its answers come loses it.
 */
function leaksOf(report: string): string[] {
  return report
    .split('\n\n')
    .filter((part) => /^(Direct|Indirect) leak/.test(part) && part.includes('sluice.node'))
    .filter((part) => !part.includes(' in napi_create_promise '));
}

t.setTimeout(300_000); // the first build takes most of it

t.test('native module under sanitizers', async (t) => {
  execFileSync(process.execPath, ['tools/build-native.mjs', '--asan'], { cwd: root, stdio: 'inherit' });
  for (const file of ['test/contract/maps.test.ts', 'test/contract/native.test.ts']) {
    const { code, tap, report } = await runInstrumented(file);
    t.equal(code, 0, `${file} holds`, { report: report.slice(0, 8000) });
    t.match(tap, /^# \{ total: \d+, pass: \d+ \}$/m, 'every assertion passed');
    t.notMatch(report, /ERROR: AddressSanitizer|runtime error:/, 'nothing reported');
    t.same(leaksOf(report), [], 'no leak of ours');
  }
});
