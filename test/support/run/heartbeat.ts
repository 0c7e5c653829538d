// What keeps a long step from being silent, and from lasting for ever. The lines are those of tools/patiently, which
// does the same for commands.
import { Worker } from 'node:worker_threads';
import { join } from 'node:path';
import { patience } from './process.ts';

/** ms before the first line, and between two. */
const firstMs = 1000 * Number(process.env['PATIENTLY_BEAT'] ?? 4);
const beatMs = 1000 * Number(process.env['PATIENTLY_BEAT'] ?? 9);

/** The command line that runs a command by tools/patiently. */
export function patiently(seconds: number, what: string, command: readonly string[]): [string, string[]] {
  return [join(import.meta.dirname, '../../../tools/patiently'), [String(seconds), what, ...command]];
}

/** Says something while nothing else is said. */
export class Ticker {
  readonly #timer: NodeJS.Timeout;

  /** `describe` answers the line, or undefined when there is nothing to say. */
  constructor(describe: () => string | undefined, print: (line: string) => void = console.log, ms = beatMs) {
    this.#timer = setInterval(() => {
      const line = describe();
      if (line !== undefined) print(line);
    }, ms).unref();
  }

  /** Something else was printed. */
  spoke(): void {
    this.#timer.refresh();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

/** "check: types 12 s, lint 3 s so far", from when each began; undefined when nothing runs. */
export function waitsFor(
  who: string,
  began: ReadonlyMap<string, number>,
  now = Date.now(),
): string | undefined {
  if (began.size === 0) return undefined;
  const running = [...began].map(([name, at]) => `${name} ${String(Math.round((now - at) / 1000))} s`);
  return `${who}: ${running.join(', ')} so far`;
}

// In a thread of its own: many steps do not give way (system calls, child processes that are waited for).
const watchdog = `
  const { parentPort, workerData: { firstMs, beatMs, pid } } = require('node:worker_threads');
  const { writeSync } = require('node:fs');
  let step, timers = [];
  const say = (text) => writeSync(2, step.what + ': ' + text + '\\n');
  const since = () => Math.round((Date.now() - step.began) / 1000) + ' s';
  const beat = (ms) => (timers[0] = setTimeout(() => { say(since() + ' so far'); beat(beatMs); }, ms));
  const giveUp = () => {
    say('given up after ' + since() + ' (SLUICE_TEST_PATIENCE=3 waits three times as long)');
    process.kill(pid, 'SIGTERM');
    setTimeout(() => process.kill(pid, 'SIGKILL'), 10 * 1000);
  };
  parentPort.on('message', (message) => {
    timers.forEach((timer) => clearTimeout(timer));
    step = message;
    timers = [];
    if (step === undefined) return;
    beat(firstMs);
    timers[1] = setTimeout(giveUp, step.limitMs);
  });`;

let worker: Worker | undefined;

/**
 * From now on this process waits for `what`: a line on stderr says so now and then, and after `limitSeconds` (times
 * the patience) that it has not come, and the process is ended. The next call takes its place: print something before
 * it.
 */
export function waitingFor(what: string, limitSeconds = 300): void {
  worker ??= startWatchdog();
  worker.postMessage({ what, began: Date.now(), limitMs: limitSeconds * 1000 * patience });
}

/** The same, said at once too: where the figures come at the very end. */
export function beginning(what: string, limitSeconds?: number): void {
  process.stderr.write(`${what}\n`);
  waitingFor(what, limitSeconds);
}

export function waitingForNothing(): void {
  worker?.postMessage(undefined);
}

function startWatchdog(): Worker {
  const started = new Worker(watchdog, {
    eval: true,
    execArgv: [],
    workerData: { firstMs, beatMs, pid: process.pid },
  });
  started.unref();
  return started;
}
