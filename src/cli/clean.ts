// sluice clean: nothing of ours stays in the kernel. Needs no agent, and may be run twice.
import { exitCodes } from './exit.ts';
import { json, type OutputFormat } from './output.ts';
import type { CleanOptions, Commands } from './commands.ts';
import { printable } from '../units.ts';
import type { Verb } from './verb.ts';

export interface CleanVerbOptions extends CleanOptions {
  readonly output: OutputFormat;
}

export async function cleanNode(
  commands: Commands,
  { bpffs, kubeProxy, force, output }: CleanVerbOptions,
  { write }: Verb,
): Promise<number> {
  const removed = await commands.clean({ bpffs, kubeProxy, force });
  if (output === 'json') write(json({ removed }));
  else
    write(
      removed.length === 0
        ? 'nothing of ours was there\n'
        : removed.map((what) => `removed ${printable(what)}\n`).join(''),
    );
  return exitCodes.ok;
}
