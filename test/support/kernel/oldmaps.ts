// Pinned maps turned into those of a version before: the same rows in the layout that they had then, in the folder of
// then.
import { readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native } from '../../../native/index.ts';
import { carryRows } from '../../../src/hooks/carry.ts';
import { ownFolder } from '../run/owner.ts';
import { run } from '../run/process.ts';

const namesOfThen = { slb_counters: 'slb_events', slb_queued: 'slb_parked', slb_oversize: 'slb_split' };

/** As bpf/Makefile compiles. */
async function compile(): Promise<Uint8Array> {
  const source = fileURLToPath(new URL('oldmaps.bpf.c', import.meta.url));
  const object = join(ownFolder('oldmaps'), 'oldmaps.bpf.o');
  const { stdout } = await run(['uname', '-m']);
  const headers = ['-idirafter', `/usr/include/${stdout.trim()}-linux-gnu`];
  await run(['clang', '-O2', '-g', '-target', 'bpf', '-mcpu=v3', ...headers, '-c', source, '-o', object]);
  return readFileSync(object);
}

/** Says which maps have another layout now. Programs that are attached go on with the maps that they have. */
export async function pinAsBefore(bpffs: string): Promise<string[]> {
  const [folder = ''] = readdirSync(bpffs).filter((name) => name.startsWith('maps-'));
  const object = native().openObject(await compile(), 'oldmaps');
  object.load();
  for (const name of object.maps()) {
    const path = join(bpffs, folder, name);
    const today = native().openPinnedMap(path);
    const before = object.map(name);
    const { left, reason } = carryRows(today, before);
    if (left > 0 || reason !== '') throw new Error(`${name}: ${String(left)} rows: ${reason}`);
    rmSync(path);
    before.pin(path);
  }
  // Maps of today's layout have the names that they had then.
  for (const [today, then] of Object.entries(namesOfThen))
    renameSync(join(bpffs, folder, today), join(bpffs, folder, then));
  rmSync(join(bpffs, 'maps'), { recursive: true, force: true });
  renameSync(join(bpffs, folder), join(bpffs, 'maps'));
  return object.maps();
}
