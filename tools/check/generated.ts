import { existsSync, readFileSync } from 'node:fs';
import { commandCheck } from './command.ts';

/** Written by a generator and checked in, so that a reader and a diff see them. */
export const GENERATED: Readonly<Record<string, readonly string[]>> = {
  abi: ['src/abi/layout.gen.ts', 'docs/maps.md', 'docs/verdicts.md'],
  docs: [
    'docs/config.md',
    'docs/benchmarks.md',
    'docs/benchmarks/packets.md',
    'docs/benchmarks/sockets.md',
    'docs/metrics.md',
    'docs/conformance.md',
    'docs/conformance-e2e.md',
  ],
};

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Runs each generator and compares; what was out of date is now up to date and has to be looked at and committed. */
export async function generatedFiles(): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const [script, paths] of Object.entries(GENERATED)) {
    const before = paths.map(read);
    problems.push(...(await commandCheck('npm', 'run', '--silent', script)()));
    paths.forEach((path, i) => {
      if (read(path) !== before[i])
        problems.push(`${path} was out of date: npm run ${script} has just rewritten it`);
    });
  }
  return problems;
}
