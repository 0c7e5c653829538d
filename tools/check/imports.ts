import { dirname, join } from 'node:path';
import type { SourceFile } from './files.ts';

const relativeImport = /(?:from|import|import\()\s*'(\.[^']+)'/g;

/** The files of this repository that a TypeScript file imports, types and dynamic imports included. */
export function importsOf({ path, text }: SourceFile): readonly string[] {
  return [...text.matchAll(relativeImport)].map(([, target = '']) => join(dirname(path), target));
}
