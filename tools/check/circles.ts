import { dirname, join } from 'node:path';
import { sourceFiles } from './files.ts';

type Graph = ReadonlyMap<string, readonly string[]>;

const imported = /(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+\.ts)'/g;

/** Which file imports which, types included: a type that is needed both ways belongs into a file of its own. */
function importGraph(...patterns: string[]): Graph {
  return new Map(
    sourceFiles(...patterns).map(({ path, text }) => {
      return [path, [...text.matchAll(imported)].map(([, target = '']) => join(dirname(path), target))];
    }),
  );
}

/** Every circle that a depth-first walk closes, as the files on it; none when the files can be put in an order. */
export function findCircles(graph: Graph): string[][] {
  const circles: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, road: readonly string[]): void => {
    const begin = road.indexOf(file);
    if (begin >= 0) circles.push([...road.slice(begin), file]);
    if (begin >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...road, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  return circles;
}

/** Files that import each other, directly or over others. */
export function circles(): string[] {
  const graph = importGraph('src/*.ts', 'native/*.ts', 'test/support/*.ts', 'tools/*.ts', 'bench/*.ts');
  return findCircles(graph).map((files) => `files import each other: ${files.join(' → ')}`);
}
