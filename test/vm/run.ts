/**
 * Runs tests on other kernels: `npm run test:kernels`, or `npm run test:kernels -- 5.10 newest -- COMMAND…`.
 *
 * The guest sees this machine's files as they are (read-only; its changes stay in memory), so build first. Emulation
 * is 5 to 10 times slower than the machine: good for right and wrong, useless for time. A boot that brings back no
 * exit code (the guest hung or panicked) is tried again; a test that fails is not.
 */
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boot } from './boot.ts';
import { fetchVirtiofsd } from './hostfs.ts';
import { fetchKernel, SUITES } from './kernels.ts';
import { prepareMachine } from './machine.ts';
import { say } from './shell.ts';

const DEFAULT_KERNELS = ['5.10', '6.1', 'newest'];
const DEFAULT_COMMAND = 'SLUICE_TEST_PATIENCE=20 exec node --import=tsx test/run.ts verifier bpf guest';
const BOOTS = 3;
const SILENT_SECONDS = 900; // the longest test file takes a third of it here
const CONSOLE_LINES = 30;

const project = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'sluice', 'vm');

interface Outcome {
  readonly kernel: string;
  readonly code: number | undefined;
  /** What the run said last: `N passed, N failed, N skipped` for the test runner. */
  readonly lastLine: string;
}

async function runOn(name: string, command: string): Promise<Outcome> {
  const kernel = fetchKernel(SUITES[name] ?? name, cache);
  for (let attempt = 1; attempt <= BOOTS; attempt++) {
    say(`${kernel.release}: booting`);
    let lastLine = '';
    const onOutput = (text: string): void => {
      process.stdout.write(text);
      lastLine = text.trimEnd().split('\n').pop() ?? lastLine;
    };
    const { code, console: messages } = await boot(kernel, fetchVirtiofsd(cache), {
      command,
      dir: project,
      silentSeconds: SILENT_SECONDS,
      onOutput,
    });
    if (code !== undefined) return { kernel: kernel.release, code, lastLine };
    const last = messages.trimEnd().split('\n').slice(-CONSOLE_LINES).join('\n');
    say(`${kernel.release}: no exit code (boot ${attempt} of ${BOOTS}); the console ended with\n${last}`);
  }
  return { kernel: kernel.release, code: undefined, lastLine: 'never came up' };
}

async function main(args: readonly string[]): Promise<void> {
  const dash = args.indexOf('--');
  const named = dash === -1 ? args : args.slice(0, dash);
  const command = dash === -1 ? DEFAULT_COMMAND : args.slice(dash + 1).join(' ');
  if (process.getuid?.() !== 0)
    throw new Error('must be root to share all of the host’s files with the guest');
  prepareMachine();
  const outcomes: Outcome[] = [];
  for (const name of named.length > 0 ? named : DEFAULT_KERNELS) outcomes.push(await runOn(name, command));
  console.log();
  for (const { kernel, code, lastLine } of outcomes) {
    say(`${kernel.padEnd(28)} ${code === 0 ? 'ok  ' : 'FAIL'} ${lastLine}`);
  }
  process.exitCode = outcomes.every(({ code }) => code === 0) ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main(process.argv.slice(2));
