// sluice check: whether an agent can run on this node, and which kernel features it would have to do without.
import { exitCodes } from './exit.ts';
import { json, table, type OutputFormat } from './output.ts';
import type { CheckRow, Commands } from './commands.ts';
import type { Terminal } from './terminal.ts';

export interface CheckOptions {
  readonly bpffs: string;
  readonly cgroup: string;
  readonly output: OutputFormat;
}

export async function checkNode(
  commands: Commands,
  { bpffs, cgroup, output }: CheckOptions,
  { write }: Terminal,
): Promise<number> {
  const checks = await commands.check({ bpffs, cgroup });
  const usable = checks.every(({ needed, supported }) => supported || !needed);
  write(output === 'json' ? json({ usable, checks }) : printChecks(checks, usable));
  return usable ? exitCodes.ok : exitCodes.failed;
}

function printChecks(checks: readonly CheckRow[], usable: boolean): string {
  const rows = table(
    [
      { title: 'CHECK', cell: ({ name }) => name },
      {
        title: 'RESULT',
        cell: ({ needed, supported }) => (supported ? 'ok' : needed ? 'MISSING' : 'fallback'),
      },
      { title: 'DETAIL', cell: ({ detail }) => detail },
    ],
    checks,
    'nothing to check',
  );
  return `${rows}\n${usable ? 'an agent can run here' : 'no agent can run here'}\n`;
}
