// A kernel without tcx, as the agent sees it: the native module, but its questions for tcx are answered as those
// below 6.6 answer.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ownFolder } from '../run/owner.ts';

/** For an agent's environment. */
export function withoutTcx(): Record<string, string> {
  const real = fileURLToPath(new URL('../../../native/build/Release/sluice.node', import.meta.url));
  const path = join(ownFolder('notcx'), 'sluice.cjs');
  const text = [
    `const real = require(${JSON.stringify(real)});`,
    "const refuse = () => { throw Object.assign(new Error('no tcx'), { code: 'EINVAL' }); };",
    'module.exports = { ...real, attachTcx: refuse, queryTcx: refuse };',
  ];
  writeFileSync(path, text.join('\n'));
  return { SLUICE_NATIVE: path };
}
