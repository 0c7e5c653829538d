// sluice clean: nothing of ours stays in the kernel. Needs no agent, and may be run twice.
import { exitCodes } from './exit.ts';
import { json, type OutputFormat } from './output.ts';
import type { Rooms } from './rooms.ts';
import type { Verb } from './verb.ts';

export interface CleanOptions {
  readonly bpffs: string;
  readonly output: OutputFormat;
}

export async function cleanNode(
  rooms: Rooms,
  { bpffs, output }: CleanOptions,
  { write }: Verb,
): Promise<number> {
  const removed = await rooms.clean({ bpffs });
  if (output === 'json') write(json({ removed }));
  else
    write(
      removed.length === 0
        ? 'nothing of ours was there\n'
        : removed.map((what) => `removed ${what}\n`).join(''),
    );
  return exitCodes.ok;
}
