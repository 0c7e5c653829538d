// Long steps say what is waited for, and end: the command (tools/patiently) and the thread beside a process, on
// made-up steps.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { patiently, Ticker, waitsFor } from '../support/run/heartbeat.ts';
import { ownFolder, sweepOnExit } from '../support/run/owner.ts';
import { run, until, type Ran } from '../support/run/process.ts';

sweepOnExit();
const folder = ownFolder('heartbeat');
const env = { ...process.env, PATIENTLY_BEAT: '1', SLUICE_TEST_PATIENCE: '1' };

/** A command that runs until the file is there. */
const untilFile = (path: string): string[] => ['sh', '-c', 'while [ ! -e "$0" ]; do sleep 0.05; done', path];

function steadily(limit: number, command: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Ran> {
  const [file, args] = patiently(limit, 'fake: the step', command);
  return run([file, ...args], { env: { ...env, ...more }, mayFail: true });
}

t.test('a silent command: what is waited for is printed, and for how long', async (t) => {
  const file = join(folder, 'go');
  const [command, args] = patiently(600, 'fake: the step', untilFile(file));
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const closed = new Promise((resolve) => child.once('close', resolve));
  await until('two lines', () => said.split('\n').length > 2);
  await run(['touch', file]);
  t.equal(await closed, 0);
  t.match(said, /^(fake: the step: \d+ s so far\n)+fake: the step: done after \d+ s\n$/);
});

t.test('its exit code, output and errors are passed on', async (t) => {
  t.match(await steadily(600, ['sh', '-c', 'echo out; echo err >&2; exit 7']), {
    code: 7,
    stdout: 'out\n',
    stderr: 'err\n',
  });
});

t.test('with a log: its last line is printed, its end when it fails, nothing when it does not', async (t) => {
  const log = { PATIENTLY_LOG: join(folder, 'log') };
  t.match(await steadily(600, ['sh', '-c', 'echo out'], log), { code: 0, stdout: '', stderr: '' });
  const { code, stderr } = await steadily(3, ['sh', '-c', 'echo Unpacking things; sleep 1000'], log);
  t.equal(code, 124);
  t.match(stderr, /^fake: the step: \d+ s so far \(Unpacking things\)$/m);
  t.match(stderr, /^Unpacking things$/m);
});

t.test('after the time-out it is ended, and what was waited for is printed', async (t) => {
  const pid = join(folder, 'pid');
  const { code, stderr } = await steadily(2, ['sh', '-c', 'sleep 1000 & echo $! >"$0"; wait', pid]);
  t.equal(code, 124);
  t.match(stderr, /^fake: the step: given up after 2 s \(SLUICE_TEST_PATIENCE=3 /m);
  const child = readFileSync(pid, 'utf8').trim();
  await until('the end of its child', () => !existsSync(`/proc/${child}`));
});

/** A process that waits for something, and blocks. */
function blocked(waiting: string, limit: number, then: string): Promise<Ran> {
  const module = new URL('../support/run/heartbeat.ts', import.meta.url).href;
  const code = `
    import { waitingFor, waitingForNothing } from ${JSON.stringify(module)};
    waitingFor(${JSON.stringify(waiting)}, ${String(limit)});
    await new Promise((resolve) => setTimeout(resolve, 500)); // the thread starts
    ${then}`;
  const node = [process.execPath, '--import=tsx', '--input-type=module', '-e', code];
  return run(node, { env, mayFail: true });
}

const block = "(await import('node:child_process')).execFileSync('sleep', [SECONDS]);";

t.test('a process that blocks prints what it waits for, and is ended after the time-out', async (t) => {
  const { code, stderr } = await blocked('fake: an answer', 3, block.replace('SECONDS', '"1000"'));
  t.not(code, 0);
  t.match(stderr, /^fake: an answer: \d+ s so far$/m);
  t.match(stderr, /^fake: an answer: given up after \d+ s/m);
});

t.test('a process whose wait is over ends normally', async (t) => {
  t.match(await blocked('fake: an answer', 600, ''), { code: 0, stderr: '' });
  const next = `waitingFor('fake: another', 600); ${block.replace('SECONDS', '"2.5"')}`;
  t.match(await blocked('fake: an answer', 2, next), {
    code: 0,
    stderr: /^(fake: another: \d+ s so far\n)+$/,
  });
  const nothing = `waitingForNothing(); ${block.replace('SECONDS', '"2.5"')}`;
  t.match(await blocked('fake: an answer', 2, nothing), { code: 0, stderr: '' });
});

t.test('running files are listed while nothing else is printed', async (t) => {
  const began = new Map([
    ['unit/a.test.ts', 0],
    ['unit/b.test.ts', 11_000],
  ]);
  t.equal(waitsFor('test', began, 23_400), 'test: unit/a.test.ts 23 s, unit/b.test.ts 12 s so far');
  t.equal(waitsFor('test', new Map()), undefined);
  const lines: string[] = [];
  let turn = 0;
  const ticker = new Ticker(
    () => (++turn % 2 === 0 ? undefined : `turn ${String(turn)}`),
    (line) => lines.push(line),
    5,
  );
  const alive = setInterval(() => undefined, 1000);
  await until('lines', () => lines.length >= 2);
  clearInterval(alive);
  ticker.stop();
  t.same(lines.slice(0, 2), ['turn 1', 'turn 3']);
});
