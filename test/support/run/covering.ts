// Which test files are about a source file: those that import it, by themselves or through test/support. A header of
// the data path is in every packet test, and a source of the native module in every contract test.
import { readFileSync } from 'node:fs';
import { importsOf } from '../../../tools/check/imports.ts';

/** `source` and `tests` are paths from the top of the repository, as is what is returned. */
export function testsOf(source: string, tests: readonly string[]): readonly string[] {
  if (source.startsWith('bpf/')) return tests.filter((test) => /^test\/(bpf|verifier)\//.test(test));
  if (source.startsWith('native/src/')) return tests.filter((test) => test.startsWith('test/contract/'));
  const known = new Map<string, boolean>();
  const reaches = (file: string): boolean => {
    const before = known.get(file);
    if (before !== undefined) return before;
    known.set(file, false); // an import in a circle adds nothing
    const imports = importsOf({ path: file, text: readFileSync(file, 'utf8') });
    const found = imports.some((to) => to === source || (/^test\/.*\.ts$/.test(to) && reaches(to)));
    known.set(file, found);
    return found;
  };
  return tests.filter(reaches);
}
