import { dirname, join } from 'node:path';
import { sourceFiles, type SourceFile } from './files.ts';

/**
 * Which room may import from which; every file but main.ts is in one. The way of a Service is source → model → table → maps →
 * native, and nothing leads back.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  units: [],
  version: ['package.json'],
  net: [],
  native: ['errors'],
  abi: ['errors'],
  observe: ['errors', 'units', 'abi'],
  http: ['errors', 'net'],
  source: ['errors', 'net', 'observe'],
  model: ['errors', 'net', 'observe', 'source'],
  table: ['errors', 'net', 'observe', 'abi', 'model'],
  host: ['errors', 'net', 'observe', 'source', 'model', 'native'],
  kernel: ['errors', 'observe', 'host', 'native'],
  maps: ['errors', 'net', 'observe', 'abi', 'model', 'table', 'kernel', 'native'],
  hooks: ['errors', 'observe', 'abi', 'host', 'kernel', 'native'],
  health: ['errors', 'units', 'net', 'observe', 'model', 'http'],
  api: ['errors', 'units', 'net', 'observe', 'abi', 'http'],
  config: ['errors', 'units', 'net', 'observe', 'host'],
  cli: ['errors', 'units', 'version', 'net', 'observe', 'api', 'config'],
  agent: [
    'errors',
    'units',
    'version',
    'net',
    'native',
    'abi',
    'observe',
    'http',
    'source',
    'model',
    'table',
    'maps',
    'host',
    'kernel',
    'hooks',
    'health',
    'api',
    'config',
  ],
};

/** The same for the headers of the datapath: layouts know nothing, maps know layouts, stages know both. */
const MAY_INCLUDE: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  maps: ['abi'],
  lib: ['abi', 'maps'],
  stage: ['abi', 'maps', 'lib'],
  socklb: ['abi', 'maps', 'lib', 'stage'],
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
  if (path === 'src/main.ts') return [];
  if (allowed === undefined) return [`${path}: ${from} is a room without a row in tools/check/rooms.ts`];
  return [...text.matchAll(pattern)].flatMap(([, target = '']) => {
    const to = room(join(dirname(path), target));
    return to === from || allowed.includes(to) ? [] : [`${path}: ${from} may not see ${to} (${target})`];
  });
}

/** Rooms that may see one that stands below them: the table is in an order, so that nothing can go in circles. */
function circles(table: typeof MAY_IMPORT): string[] {
  const above = new Set(['package.json']);
  return Object.entries(table).flatMap(([room, allowed]) => {
    const below = allowed.filter((other) => !above.has(other));
    above.add(room);
    return below.map((other) => `tools/check/rooms.ts: ${other} must stand above ${room}`);
  });
}

export function rooms(): string[] {
  const ts = sourceFiles('src/*.ts', 'native/*.ts');
  const c = sourceFiles('bpf/*.h');
  return [
    ...circles(MAY_IMPORT),
    ...circles(MAY_INCLUDE),
    ...ts.flatMap((file) => crossings(file, MAY_IMPORT, /(?:from|import\()\s*'(\.[^']+)'/g, roomOf)),
    ...c.flatMap((file) =>
      crossings(file, MAY_INCLUDE, /^#include "([^"]+)"/gm, (path) => path.split('/')[1] ?? ''),
    ),
  ];
}
