// Patterns of device names: globs with * and ?; one that begins with ! excludes.

export interface Patterns {
  /** Whether a pattern includes devices. */
  readonly including: boolean;
  includes(name: string): boolean;
  excludes(name: string): boolean;
}

export function compile(patterns: readonly string[]): Patterns {
  const excludes = patterns
    .filter((pattern) => pattern.startsWith('!'))
    .map((pattern) => glob(pattern.slice(1)));
  const includes = patterns.filter((pattern) => !pattern.startsWith('!')).map(glob);
  const matching = (list: readonly RegExp[]) => (name: string) => list.some((one) => one.test(name));
  return { including: includes.length > 0, includes: matching(includes), excludes: matching(excludes) };
}

function glob(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`);
}
