// How the demo looks: short, aligned, the same on a terminal and in a log.
import { waitingFor } from '../../test/support/run/heartbeat.ts';
import type { HttpTally } from '../../test/support/actors/http.ts';

const bold = (text: string): string => (process.stdout.isTTY ? `\u001b[1m${text}\u001b[0m` : text);

export function say(text = ''): void {
  process.stdout.write(text === '' ? '\n' : `   ${text.replaceAll('\n', '\n   ')}\n`);
}

/** From here on the demo waits for this: it is said now and then, and for three minutes at most. */
export function waitFor(what: string): void {
  waitingFor(`demo: ${what}`, 180);
}

export function begin(what: string): void {
  say(`… ${what}`);
  waitFor(what);
}

let step = 0;
export function title(text: string): void {
  process.stdout.write(`\n${bold(`${String(++step)}  ${text}`)}\n\n`);
  waitFor(`step ${String(step)}`);
}

/** 3000 → "3 000" */
export const grouped = (value: number): string => String(value).replace(/(?<=\d)(?=(\d{3})+$)/g, ' ');

export const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((total, value) => total + value, 0);

/** One bar a backend, as long as its share. */
export function bars(names: readonly string[], answers: Readonly<Record<string, number>>): string {
  const total = sum(answers);
  const line = (name: string): string => {
    const share = total === 0 ? 0 : (answers[name] ?? 0) / total;
    const percent = `${(100 * share).toFixed(1)} %`;
    return `${name.padEnd(6)}${grouped(answers[name] ?? 0).padStart(6)}${percent.padStart(9)}  ${'█'.repeat(Math.round(40 * share))}`;
  };
  return names.map(line).join('\n');
}

const failures: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'broken off',
  ETIMEDOUT: 'unanswered',
};

/** red 130   green 0     blue 121   failed 0 */
export function oneLine(names: readonly string[], { answers, errors }: HttpTally): string {
  const counts = names.map((name) => `${name} ${grouped(answers[name] ?? 0).padEnd(5)}`).join(' ');
  const kinds = Object.entries(errors).map(([code, count]) => `${grouped(count)} ${failures[code] ?? code}`);
  return `${counts} failed ${grouped(sum(errors))}${kinds.length > 0 ? ` (${kinds.join(', ')})` : ''}`;
}

/** Promises of the demo that were not kept. */
const broken: string[] = [];
let kept = 0;

export function promise(holds: boolean, text: string): void {
  if (holds) kept++;
  else {
    broken.push(text);
    say(`✗ not so: ${text}`);
  }
}

/** Prints the verdict and answers the exit code. */
export function verdict(seconds: number): number {
  const took = `${seconds.toFixed(0)} s`;
  const all = kept + broken.length;
  if (broken.length === 0) say(bold(`✓ all ${String(all)} promises kept, in ${took}`));
  else say(bold(`✗ ${String(broken.length)} of ${String(all)} promises broken, in ${took}`));
  return broken.length === 0 ? 0 : 1;
}
