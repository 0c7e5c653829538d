// sluice clean: removes programs, maps and links of Sluice from the kernel. Needs no agent, and may be run twice.
import { exitCodes } from './exit.ts';
import { json, type OutputFormat } from './output.ts';
import type { Cleaned, CleanOptions, Commands } from './commands.ts';
import { printable } from '../units.ts';
import type { Terminal } from './terminal.ts';

export interface CleanCommandOptions extends CleanOptions {
  readonly output: OutputFormat;
}

export async function cleanNode(
  commands: Commands,
  { bpffs, kubeProxy, force, output }: CleanCommandOptions,
  { write }: Terminal,
): Promise<number> {
  const cleaned = await commands.clean({ bpffs, kubeProxy, force });
  write(output === 'json' ? json(cleaned) : printCleaned(cleaned));
  return exitCodes.ok;
}

function printCleaned({ removed, restored }: Cleaned): string {
  const lines = [
    ...removed.map((what) => `removed ${printable(what)}\n`),
    ...restored.map((setting) => `restored ${printable(setting)}\n`),
  ];
  return lines.length === 0 ? 'nothing of Sluice was there\n' : lines.join('');
}
