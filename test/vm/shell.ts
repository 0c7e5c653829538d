import { execFileSync } from 'node:child_process';

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

export function say(text: string): void {
  console.log(`kernels: ${text}`);
}
