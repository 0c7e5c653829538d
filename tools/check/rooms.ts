import { dirname, join } from 'node:path';
import { sourceFiles, type SourceFile } from './files.ts';

/**
 * Which room may import from which. The road is source → model → table → maps → native and nothing leads back. A file at the
 * top of src/ that is not a room of its own (main.ts and what only it uses) sees everything.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  units: [],
  http: ['errors', 'units'],
  abi: ['errors'],
  observe: ['errors', 'units', 'abi'],
  source: ['errors', 'observe'],
  model: ['errors', 'observe', 'source'],
  table: ['errors', 'observe', 'abi', 'model'],
  maps: ['errors', 'observe', 'abi', 'model', 'table', 'native'],
  host: ['errors', 'observe', 'source', 'model', 'native'],
  hooks: ['errors', 'observe', 'abi', 'host', 'native'],
  health: ['errors', 'observe', 'model', 'units', 'http'],
  api: ['errors', 'observe', 'units', 'abi', 'http'],
  kubeproxy: ['errors', 'config'],
  cli: [
    'errors',
    'observe',
    'units',
    'api',
    'config',
    'configfile',
    'configure',
    'defaults',
    'kubeproxy',
    'reload',
    'version',
  ],
  native: ['errors'],
};

/** The same for the headers of the datapath: layouts know nothing, maps know layouts, stages know both. */
const MAY_INCLUDE: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  maps: ['abi'],
  stage: ['abi', 'maps'],
};

function roomOf(path: string): string {
  const [top = '', second = ''] = path.split('/');
  return top === 'src' ? second.replace(/\.ts$/, '') : top;
}

function crossings(
  { path, text }: SourceFile,
  table: typeof MAY_IMPORT,
  pattern: RegExp,
  room: (path: string) => string,
): string[] {
  const from = room(path);
  const allowed = table[from];
  if (allowed === undefined) return [];
  return [...text.matchAll(pattern)].flatMap(([, target = '']) => {
    const to = room(join(dirname(path), target));
    return to === from || allowed.includes(to) ? [] : [`${path}: ${from} may not see ${to} (${target})`];
  });
}

export function rooms(): string[] {
  const ts = sourceFiles('src/*.ts', 'native/*.ts');
  const c = sourceFiles('bpf/*.h');
  return [
    ...ts.flatMap((file) => crossings(file, MAY_IMPORT, /(?:from|import\()\s*'(\.[^']+)'/g, roomOf)),
    ...c.flatMap((file) =>
      crossings(file, MAY_INCLUDE, /^#include "([^"]+)"/gm, (path) => path.split('/')[1] ?? ''),
    ),
  ];
}
