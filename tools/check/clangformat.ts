import { readFileSync } from 'node:fs';
import { commandCheck } from './command.ts';
import { sourceFiles, type SourceFile } from './files.ts';

export interface Formatted extends SourceFile {
  readonly formatted: string;
}

const C_FILES = ['bpf/*.c', 'bpf/*.h', 'native/src/*', 'bench/*.c', 'test/*.c'];

const styleOf = (path: string): string =>
  path.startsWith('native/') ? 'native/.clang-format' : '.clang-format';

/** Versions of clang-format differ in what they write, so it is a package, at one version, and no distribution's. */
export async function formatC(): Promise<readonly Formatted[]> {
  const { default: load, format } = await import('@wasm-fmt/clang-format');
  await load();
  return sourceFiles(...C_FILES).map(({ path, text }) => ({
    path,
    text,
    formatted: format(text, path, readFileSync(styleOf(path), 'utf8')),
  }));
}

export async function clangFormat(): Promise<readonly string[]> {
  try {
    const files = await formatC();
    return files.flatMap((file) => {
      const line = firstDifference(file);
      return line === 0
        ? []
        : [`${file.path}:${String(line)}: not as clang-format writes it: npm run format`];
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    // node_modules from before the package was added: the machine's own version stands in for it.
    return commandCheck(
      'clang-format',
      '--dry-run',
      '-Werror',
      ...sourceFiles(...C_FILES).map(({ path }) => path),
    )();
  }
}

/** Counted from 1; 0 when there is none. */
function firstDifference({ text, formatted }: Formatted): number {
  if (text === formatted) return 0;
  const lines = formatted.split('\n');
  return text.split('\n').findIndex((line, i) => line !== lines[i]) + 1 || 1;
}
