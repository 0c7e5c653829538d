// Which test files are about a source file: those that import it, by themselves or through test/support. A header of the
// data path is in every packet test.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const importOf = /(?:from|import\()\s*'(\.[^']+)'/g;

/** `source` and `tests` are paths from the top of the repository, as is what is returned. */
export function testsOf(source: string, tests: readonly string[]): readonly string[] {
  if (source.startsWith('bpf/')) return tests.filter((test) => /^test\/(bpf|verifier)\//.test(test));
  const known = new Map<string, boolean>();
  const reaches = (file: string): boolean => {
    const before = known.get(file);
    if (before !== undefined) return before;
    known.set(file, false); // an import in a circle adds nothing
    const found = importsOf(file).some((to) => to === source || (to.startsWith('test/') && reaches(to)));
    known.set(file, found);
    return found;
  };
  return tests.filter(reaches);
}

function importsOf(file: string): readonly string[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(importOf)]
    .map(([, target = '']) => join(dirname(file), target))
    .filter((target) => target.endsWith('.ts'));
}
