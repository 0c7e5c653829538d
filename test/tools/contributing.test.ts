// What CONTRIBUTING.md promises: an option and a verdict are added to a copy of the repository as its table says, and
// neither the generators nor the type check ask for a file that the table does not name.
import { cpSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { GENERATED } from '../../tools/check/generated.ts';
import { ownFolder, sweepOnExit } from '../support/run/owner.ts';
import { run } from '../support/run/process.ts';

t.setTimeout(220_000);
sweepOnExit();
const root = fileURLToPath(new URL('../../', import.meta.url));
const copy = ownFolder('contributing');

const built = new Set(['.git', '.cache', 'node_modules', 'dist', 'build', 'bpf/out', 'native/build']);
for (const name of readdirSync(root)) {
  const filter = (path: string): boolean => !built.has(relative(root, path));
  cpSync(join(root, name), join(copy, name), { recursive: true, filter });
}
symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
const git = (...args: string[]) => run(['git', '-C', copy, ...args]);
await git('init', '-q');
await git('add', '-A');

/** Puts other lines in the place of the last one that the pattern finds. */
function editLast(t: Test, file: string, pattern: RegExp, edit: (line: string) => readonly string[]): void {
  const lines = readFileSync(join(copy, file), 'utf8').split('\n');
  const last = lines.findLastIndex((line) => pattern.test(line));
  t.ok(last >= 0, `${file} has a line such as ${String(pattern)}`);
  lines.splice(last, 1, ...edit(lines[last] ?? ''));
  writeFileSync(join(copy, file), lines.join('\n'));
}

const addLine = (t: Test, file: string, pattern: RegExp, added: string): void =>
  editLast(t, file, pattern, (line) => [line, added]);

/** What the copy says on its standard output, whether it fails or not. */
async function inCopy(...command: readonly string[]): Promise<string> {
  const inside = ['sh', '-c', 'cd "$0" && exec "$@"', copy, ...command];
  return (await run(inside, { mayFail: true })).stdout;
}

/** The files and folders that the row of the table names. */
function namedFor(what: string): readonly string[] {
  const table = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8').split('\n');
  const row = table.find((line) => line.startsWith(`| ${what} `)) ?? '';
  return [...row.matchAll(/`([^`]+)`/g)].map(([, path = '']) => path);
}

const isNamed = (file: string, names: readonly string[]): boolean =>
  names.some((name) => file === name || (name.endsWith('/') && file.startsWith(name)));

const option = namedFor('an option of the agent');
const optionInKernel = namedFor('an option of the data path');
const verdict = namedFor('a verdict (a counter)');
const generated = new Set(Object.values(GENERATED).flat());

t.test('an option: one line of the schema', async (t) => {
  addLine(
    t,
    'src/config/schema.ts',
    /^ {2}udpTimeoutStream: /,
    "  probe: duration('An option of a test.', 30),",
  );
  t.ok(isNamed('src/config/schema.ts', option), `the table names it: ${option.join(', ')}`);
  await inCopy('npm', 'run', '--silent', 'docs');
  t.match(readFileSync(join(copy, 'docs/config.md'), 'utf8'), /`--probe TIME`/, 'it is documented');
  const tests = await inCopy(process.execPath, '--import=tsx', 'test/unit/config/load.test.ts');
  t.notMatch(tests, /^ *not ok/m, 'and no test of the configuration has to know it');
});

t.test('a verdict: one line of the header', async (t) => {
  editLast(t, 'bpf/abi/verdict.h', /^\tX\(\w+, \w+, "/, (row) => [
    `${row} \\`,
    '\tX(PROBE, PASS, "a verdict of a test")',
  ]);
  t.ok(isNamed('bpf/abi/verdict.h', verdict), `the table names it: ${verdict.join(', ')}`);
  addLine(t, 'bpf/abi/config.h', /^\t__u32 \w+;/, '\t__u64 probe; /* of a test */');
  t.ok(isNamed('bpf/abi/config.h', optionInKernel), 'and the header of an option that the data path reads');
  await inCopy('npm', 'run', '--silent', 'abi');
  t.match(readFileSync(join(copy, 'docs/verdicts.md'), 'utf8'), /`PROBE` *\| PASS/, 'it is documented');
});

t.test('nothing else has to be touched', async (t) => {
  const changed = (await git('diff', '--name-only')).stdout.split('\n').filter((path) => path !== '');
  const own = changed.filter((path) => !generated.has(path));
  t.same(
    own,
    ['bpf/abi/config.h', 'bpf/abi/verdict.h', 'src/config/schema.ts'],
    'generators write their own files',
  );
  const errors = await inCopy('npx', 'tsc', '-p', 'tsconfig.json', '--pretty', 'false');
  const faulty = [...errors.matchAll(/^(\S+)\(\d+,\d+\): error/gm)].map(([, path = '']) => path);
  t.ok(faulty.length > 0, 'the compiler finds where the new field of slb_config is filled');
  t.same(
    faulty.filter((path) => !isNamed(path, optionInKernel)),
    [],
    `all errors are in files that the table names:\n${errors}`,
  );
});
