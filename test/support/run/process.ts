// Child processes of the lab: run one to its end, or keep one and end it by its own handle.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const INPUT_SHOWN = 2_000;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Answer a non-zero exit code instead of throwing. */
  readonly mayFail?: boolean;
}

/** Runs a command to its end. A failure carries the command and what it printed. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const [file = '', ...args] = command;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env: options.env ?? process.env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // a command that fails at once may not read its input
  child.stdin.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 && options.mayFail !== true) {
    throw new Error(
      `${command.join(' ')}: exit ${String(code)}\n${stderr}${stdout}${(options.input ?? '').slice(0, INPUT_SHOWN)}`,
    );
  }
  return { code: code ?? -1, stdout, stderr };
}

export const isRunning = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null;

/** Ends a child by its own handle and waits; SIGKILL after `graceMs`. */
export async function end(
  child: ChildProcess,
  signal: NodeJS.Signals = 'SIGTERM',
  graceMs = 5000,
): Promise<void> {
  if (!isRunning(child)) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await gone;
  clearTimeout(timer);
}

/** Not yet: undefined or false. */
type Probed<T> = T | undefined | false;

/** Multiplies time-outs on slow machines. */
export const patience = Number(process.env['SLUICE_TEST_PATIENCE'] ?? 1);

/**
 * Polls until `probe` has an answer; says what was awaited when it never comes. The limit only keeps a broken test
 * from hanging.
 */
export async function until<T>(
  what: string,
  probe: () => Probed<T> | Promise<Probed<T>>,
  timeoutMs = 60_000,
): Promise<T> {
  const limit = Date.now() + timeoutMs * patience;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > limit) throw new Error(`waited ${String(timeoutMs / 1000)} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
