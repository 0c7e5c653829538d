import { execFileSync } from 'node:child_process';
import { patiently } from '../support/run/heartbeat.ts';

/** Runs a program and returns what it says on stdout; its stderr becomes the error when it fails. */
export function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 64 << 20,
  });
}

/**
 * The same for what may take long: says now and then that it still runs, and ends it after some time. What it prints
 * is seen.
 */
export function runLong(
  seconds: number,
  what: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): void {
  const [file, args] = patiently(seconds, `kernels: ${what}`, command);
  execFileSync(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
}

export function say(text: string): void {
  console.log(`kernels: ${text}`);
}
