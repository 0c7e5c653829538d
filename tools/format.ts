// `npm run format`, behind prettier: writes C and C++ as clang-format does.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatC } from './check/clangformat.ts';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
for (const { path, text, formatted } of await formatC()) {
  if (text === formatted) continue;
  writeFileSync(path, formatted);
  console.log(path);
}
