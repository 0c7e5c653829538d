import { sourceFiles, type SourceFile } from './files.ts';

const FILE_LINES = 400;
const TEST_FILE_LINES = 700; // a test file costs a second to start, so there are fewer and longer ones
const C_FUNCTION_LINES = 60; // TypeScript's limit of 40 is kept by eslint

function longFunctions({ path, text }: SourceFile): string[] {
  const problems: string[] = [];
  let start: number | undefined;
  let name = '';
  text.split('\n').forEach((line, i) => {
    // Both styles in use: the brace on its own line below the head (bpf/), or at the end of the head (native/).
    const head = /^[A-Za-z_].*?(\w+)\(/.exec(line);
    if (start === undefined && head) name = head[1] ?? '';
    if (line === '{' || (/^[A-Za-z_].*\) (const )?\{$/.test(line) && start === undefined)) start = i;
    if (/^\}/.test(line) && start !== undefined) {
      const length = i - start + 1;
      if (length > C_FUNCTION_LINES)
        problems.push(`${path}:${start + 1}: ${name}() has ${length} lines, ${C_FUNCTION_LINES} at most`);
      start = undefined;
    }
  });
  return problems;
}

export function sizes(): string[] {
  const c = sourceFiles('bpf/*.c', 'bpf/*.h', 'native/src/*', 'bench/*.c');
  const ts = sourceFiles('*.ts', '*.mjs', ':!*.gen.ts');
  const long = [...c, ...ts].flatMap(({ path, text }) => {
    const lines = text.split('\n').length - 1;
    const most = path.endsWith('.test.ts') ? TEST_FILE_LINES : FILE_LINES;
    return lines > most ? [`${path} has ${lines} lines, ${most} at most`] : [];
  });
  return [...long, ...c.flatMap(longFunctions)];
}
