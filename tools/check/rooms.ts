import { dirname, join } from 'node:path';
import { sourceFiles, type SourceFile } from './files.ts';
import { importsOf } from './imports.ts';

/**
 * Which room may import from which; every file but main.ts is in one. The way of a Service is source → model → table →
 * maps → native, and nothing leads back.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  units: [],
  version: ['package.json'],
  net: [],
  native: ['errors'],
  abi: ['errors'],
  observe: ['errors', 'units', 'abi'],
  http: ['errors', 'net', 'observe'],
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

/** The same for what tests share, under test/support/. */
const MAY_SUPPORT: Readonly<Record<string, readonly string[]>> = {
  run: [],
  packet: [],
  actors: ['run'],
  kube: ['run', 'actors'],
  kernel: ['run', 'packet', 'actors'],
  model: ['packet', 'kube', 'kernel'],
  lab: ['run', 'actors', 'kube', 'kernel'],
  api: [],
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

/** test/support/packet/dissect.ts is in the room packet. */
function supportRoomOf(path: string): string {
  return path.split('/')[2] ?? '';
}

function includesOf({ path, text }: SourceFile): readonly string[] {
  return [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, target = '']) => join(dirname(path), target));
}

function crossings(
  path: string,
  targets: readonly string[],
  table: typeof MAY_IMPORT,
  room: (path: string) => string,
): string[] {
  const from = room(path);
  const allowed = table[from];
  if (allowed === undefined) return [`${path}: ${from} is a room without a row in tools/check/rooms.ts`];
  return targets.flatMap((target) => {
    const to = room(target);
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
  const source = sourceFiles('src/*.ts', 'native/*.ts', ':!src/main.ts');
  const support = sourceFiles('test/support/*.ts');
  const headers = sourceFiles('bpf/*.h');
  const ofSupport = (file: SourceFile): readonly string[] =>
    importsOf(file).filter((path) => path.startsWith('test/support/'));
  return [
    ...[MAY_IMPORT, MAY_INCLUDE, MAY_SUPPORT].flatMap(circles),
    ...source.flatMap((file) => crossings(file.path, importsOf(file), MAY_IMPORT, roomOf)),
    ...support.flatMap((file) => crossings(file.path, ofSupport(file), MAY_SUPPORT, supportRoomOf)),
    ...headers.flatMap((file) =>
      crossings(file.path, includesOf(file), MAY_INCLUDE, (path) => path.split('/')[1] ?? ''),
    ),
  ];
}
