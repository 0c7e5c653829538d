// Another revision of this repository, built beside this one, to be measured in the same process. Its own rig drives
// its programs, since tables and their layouts belong together; cases, frames and the wrapper are those of this
// revision.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { beginning } from '../test/support/run/heartbeat.ts';
import type { Hook, Rig, RigOptions } from './rig.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

const git = (...args: readonly string[]): string =>
  execFileSync('git', ['-C', root, ...args], { encoding: 'utf8' }).trim();

/** Where the revision is, built; kept for the next comparison. */
function build(revision: string): string {
  const commit = git('rev-parse', '--verify', `${revision}^{commit}`);
  const folder = join(root, 'build/against', commit);
  if (existsSync(folder)) return folder;
  beginning(`bench: building ${revision}`, 600);
  const unfinished = `${folder}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const archive = execFileSync('git', ['-C', root, 'archive', commit], { maxBuffer: 1 << 28 });
  execFileSync('tar', ['-x', '-C', unfinished], { input: archive });
  symlinkSync(join(root, 'node_modules'), join(unfinished, 'node_modules'));
  execFileSync(process.execPath, ['tools/build.mjs'], { cwd: unfinished, stdio: ['ignore', 2, 2] });
  renameSync(unfinished, folder);
  return folder;
}

/** Revisions up to 7e0a24e have no placeAt(): what they take for a pod's device needs no row. */
interface OldRig {
  beOutside(devices: readonly number[]): void;
}

function adapt(rig: Rig): Rig {
  if ('placeAt' in rig) return rig;
  const old = rig as OldRig;
  return Object.assign(rig, {
    placeAt: (devices: readonly number[], outside: boolean) => {
      if (outside) old.beOutside(devices);
    },
  });
}

/** Makes rigs of that revision. */
export async function otherRig(revision: string): Promise<(options: RigOptions) => Promise<Rig>> {
  const module = pathToFileURL(join(build(revision), 'bench/rig.ts')).href;
  const other = (await import(module)) as typeof import('./rig.ts');
  return async (options) => adapt(await other.Rig.create({ ...options, label: 'against' }));
}

export interface Ratio {
  readonly case: string;
  readonly hook: Hook;
  readonly family: 4 | 6;
  readonly flows: number;
  /** Medians, ns. */
  readonly before: number;
  readonly now: number;
  /** now / before of a round: median and quartiles. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN;

const round = (value: number): number => Math.round(value * 1000) / 1000;

export function ratioOf(
  of: Pick<Ratio, 'case' | 'hook' | 'family' | 'flows'>,
  before: readonly number[],
  now: readonly number[],
): Ratio {
  const ratios = now.map((value, i) => value / (before[i] ?? NaN));
  return {
    ...of,
    before: quantile(before, 1 / 2),
    now: quantile(now, 1 / 2),
    ratio: round(quantile(ratios, 1 / 2)),
    low: round(quantile(ratios, 1 / 4)),
    high: round(quantile(ratios, 3 / 4)),
  };
}

const columns = ['case', 'hook', 'family', 'flows', 'before', 'now', 'ratio', 'low', 'high'] as const;

/** One case a line; the last one is the median of all. */
export function table(ratios: readonly Ratio[]): string {
  const cells = ratios.map((ratio) => columns.map((column) => String(ratio[column])));
  const all = quantile(
    ratios.map(({ ratio }) => ratio),
    1 / 2,
  );
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(14) : cell.padStart(8))).join('');
  return `${[[...columns], ...cells].map(line).join('\n')}\nmedian of ${String(ratios.length)} ratios: ${String(all)}\n`;
}
