/**
 * `npm run check`: what a machine can keep watch over. Each check returns the problems it found as lines; all of them
 * run, two at a time, and the exit code is 1 when any found something.
 */
import { fileURLToPath } from 'node:url';
import { clangFormat } from './check/clangformat.ts';
import { circles } from './check/circles.ts';
import { commandCheck } from './check/command.ts';
import { contract } from './check/conformance.ts';
import { generatedFiles } from './check/generated.ts';
import { kernelNames } from './check/names.ts';
import { links } from './check/links.ts';
import { mirror } from './check/mirror.ts';
import { rooms } from './check/rooms.ts';
import { sizes } from './check/sizes.ts';
import { words } from './check/words.ts';
import { Ticker, waitsFor } from '../test/support/run/heartbeat.ts';

type Check = () => Promise<readonly string[]> | readonly string[];

const checks: Readonly<Record<string, Check>> = {
  types: commandCheck('tsc', '-p', 'tsconfig.json', '--incremental', '--tsBuildInfoFile', 'build/tsc.json'),
  lint: commandCheck('eslint', '.', '--max-warnings=0'),
  format: commandCheck(
    'prettier',
    '--check',
    '--log-level=warn',
    '--cache',
    '--cache-location=build/prettier',
    '.',
  ),
  'c format': clangFormat,
  headers: commandCheck('make', '--no-print-directory', '--silent', '-C', 'bpf', 'check'),
  rooms,
  mirror,
  circles,
  sizes,
  names: kernelNames,
  words,
  links,
  contract,
};

async function runAll(): Promise<boolean> {
  let clean = true;
  const began = new Map<string, number>();
  const ticker = new Ticker(() => waitsFor('check', began));
  const report = async ([name, check]: readonly [string, Check]): Promise<void> => {
    const started = Date.now();
    began.set(name, started);
    const problems = await check();
    began.delete(name);
    ticker.spoke();
    const seconds = ((Date.now() - started) / 1000).toFixed(1);
    console.log(`${problems.length === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(10)} ${seconds} s`);
    for (const problem of problems) console.log(`     ${problem}`);
    clean &&= problems.length === 0;
  };
  const queue = Object.entries(checks);
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await report(next);
  };
  await Promise.all([worker(), worker()]);
  // Last: the generators write files that the others read.
  await report(['generated', generatedFiles]);
  ticker.stop();
  return clean;
}

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
process.exitCode = (await runAll()) ? 0 : 1;
