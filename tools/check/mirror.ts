import { existsSync } from 'node:fs';
import { sourceFiles } from './files.ts';

/**
 * test/unit/table/plan.test.ts is about src/table/plan.ts, test/maps/growth.test.ts about src/maps/growth.ts, and
 * test/unit/tools/check/circles.test.ts about tools/check/circles.ts.
 */
function sourceOf(test: string): string {
  return test
    .replace(/^test\/unit\/tools\//, 'tools/')
    .replace(/^test\/(unit\/)?/, 'src/')
    .replace(/\.test\.ts$/, '.ts');
}

/** Unit tests, and those of maps in the kernel, are named after the file of src/ that they are about. */
export function mirror(): string[] {
  return sourceFiles('test/unit/*.test.ts', 'test/maps/*.test.ts')
    .map(({ path }) => ({ path, source: sourceOf(path) }))
    .filter(({ source }) => !existsSync(source))
    .map(({ path, source }) => `${path}: there is no ${source}; name the test after the file that it tests`);
}
