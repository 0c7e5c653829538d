/**
 * Runs test folders and ends with the line `N passed, N failed, N skipped`.
 *
 *   npm test                      every folder but guest  npm test -- unit netns      these folders
 *   npm test -- unit/model        files whose path begins so
 *   npm test -- src/table/plan.ts files that import it
 *
 * Every file is a process of its own (tap writes TAP when run by node), in a process group of its own so that a
 * time-out takes its servers along. SLUICE_TEST_PATIENCE multiplies the time-outs on slow machines.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { testsOf } from './support/run/covering.ts';
import { Ticker, waitsFor } from './support/run/heartbeat.ts';
import { patience } from './support/run/process.ts';
import { reporter, type Report } from './support/run/report.ts';

interface Folder {
  readonly name: string;
  /** Serial folders hold tests that load the machine or share something of it; the others run two at a time. */
  readonly serial: boolean;
  readonly seconds: number;
  /**
   * Run only when it is named: it takes hold of the whole machine, which had better be a guest (`npm run
   * test:kernels`).
   */
  readonly guest?: boolean;
}

const FOLDERS: readonly Folder[] = [
  { name: 'unit', serial: false, seconds: 120 },
  { name: 'scenario', serial: false, seconds: 120 },
  { name: 'contract', serial: false, seconds: 120 },
  { name: 'maps', serial: false, seconds: 120 },
  { name: 'tools', serial: false, seconds: 240 },
  { name: 'bpf', serial: false, seconds: 300 },
  { name: 'verifier', serial: false, seconds: 120 },
  { name: 'netns', serial: true, seconds: 420 },
  { name: 'asan', serial: true, seconds: 300 },
  { name: 'cluster', serial: true, seconds: 900 },
  { name: 'peer', serial: true, seconds: 600 },
  { name: 'guest', serial: true, seconds: 180, guest: true },
];
const PARALLEL = 2;
const GRACE_MS = 5_000;
const STDERR_KEPT = 8_192;

const testDir = dirname(fileURLToPath(import.meta.url));
const running = new Set<number>();

interface Job {
  readonly file: string;
  readonly folder: Folder;
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The group has ended by itself.
  }
}

function filesOf(folder: Folder): string[] {
  const dir = join(testDir, folder.name);
  if (!existsSync(dir)) return existsSync(`${dir}.ts`) ? [`${folder.name}.ts`] : [];
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.test.ts'),
  );
  return names.map((name) => join(folder.name, name)).sort();
}

function plan(wanted: readonly string[]): Job[] {
  const all = FOLDERS.flatMap((folder) => filesOf(folder).map((file) => ({ file, folder })));
  if (wanted.length === 0) return all.filter(({ folder }) => folder.guest !== true);
  const chosen = new Set(wanted.flatMap((name) => filesFor(name, all)));
  return all.filter(({ file }) => chosen.has(file));
}

/** Test files by the beginning of their path, or by a file of src/, native/ or bpf/ that they are about. */
function filesFor(name: string, all: readonly Job[]): readonly string[] {
  const files = all.map(({ file }) => file);
  const isSource = /\.(ts|h|c|cc)$/.test(name) && !name.endsWith('.test.ts');
  const found = isSource
    ? testsOf(
        name,
        files.map((file) => `test/${file}`),
      ).map((file) => file.replace('test/', ''))
    : files.filter((file) => file.startsWith(name.replace(/^test\//, '')));
  if (found.length === 0)
    throw new Error(isSource ? `no test imports ${name}` : `no test file begins with ${name}`);
  return found;
}

interface Ran extends Report {
  /** The last of what the file and its children said there. */
  readonly stderr: string;
}

function runFile(job: Job): Promise<Ran> {
  const seconds = job.folder.seconds * patience;
  const { parser, finish } = reporter();
  const complete = once(parser, 'complete');
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import=tsx', `test/${job.file}`], {
      cwd: dirname(testDir),
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TAP_TIMEOUT: String(seconds) },
    });
    const pid = child.pid ?? 0;
    running.add(pid);
    let timedOut = false;
    const timer = setTimeout(
      () => {
        timedOut = true;
        killGroup(pid, 'SIGKILL');
      },
      seconds * 1000 + GRACE_MS,
    ); // tap's own time-out comes first and tells where it hung
    let stderr = '';
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (stderr = (stderr + text).slice(-STDERR_KEPT)));
    child.stdout.pipe(parser);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(pid);
      killGroup(pid, 'SIGTERM'); // whatever the file left behind
      const trouble = timedOut
        ? `no end after ${seconds} s`
        : code !== 0
          ? `ended with ${signal ?? `exit code ${code}`}`
          : undefined;
      void complete.then(() => {
        resolve({ ...finish(trouble), stderr: stderr.trimEnd() });
      });
    });
  });
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '       ');
}

function print(job: Job, report: Ran, started: number): void {
  const mark = report.failed > 0 ? 'FAIL' : 'ok';
  const skips = report.skipped.length > 0 ? `, ${report.skipped.length} skipped` : '';
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`${mark.padEnd(4)} ${job.file.padEnd(36)} ${report.passed} passed${skips}  ${seconds} s`);
  for (const skipped of report.skipped) console.log(`     skipped: ${skipped}`);
  for (const failure of report.failures)
    console.log(`     failed: ${failure.name}\n${indent(failure.detail)}`);
  if (report.failed > 0 && report.stderr !== '') console.log(`     stderr:\n${indent(report.stderr)}`);
}

/** When each file that runs began. */
const began = new Map<string, number>();
const ticker = new Ticker(() => waitsFor('test', began));

async function runAll(jobs: readonly Job[], reports: Report[]): Promise<void> {
  const queue = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      const started = Date.now();
      began.set(job.file, started);
      const report = await runFile(job);
      began.delete(job.file);
      ticker.spoke();
      reports.push(report);
      print(job, report, started);
    }
  };
  const width = jobs[0]?.folder.serial === false ? PARALLEL : 1;
  await Promise.all(Array.from({ length: width }, worker));
}

async function main(): Promise<void> {
  const jobs = plan(process.argv.slice(2));
  const reports: Report[] = [];
  await runAll(
    jobs.filter((job) => !job.folder.serial),
    reports,
  );
  await runAll(
    jobs.filter((job) => job.folder.serial),
    reports,
  );
  const sum = (count: (report: Report) => number): number =>
    reports.reduce((total, report) => total + count(report), 0);
  const failed = sum((r) => r.failed);
  const passed = sum((r) => r.passed);
  if (passed + failed === 0) throw new Error('no test ran');
  console.log(`\n${passed} passed, ${failed} failed, ${sum((r) => r.skipped.length)} skipped`);
  process.exitCode = failed > 0 ? 1 : 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const pid of running) killGroup(pid, 'SIGKILL');
    process.exit(130);
  });
}
main().catch((error: unknown) => {
  console.error(`test: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 2;
});
