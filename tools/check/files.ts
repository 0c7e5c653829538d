import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** Files that git knows or would take up, so that work in progress is checked too and build output is not. */
export function sourceFiles(...patterns: string[]): SourceFile[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...patterns];
  const paths = execFileSync('git', args, { encoding: 'utf8' }).split('\n');
  return [...new Set(paths)]
    .filter((path) => path !== '' && existsSync(path))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }));
}
