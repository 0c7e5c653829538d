// Network namespaces of others, found by the cookies by which programs know them. Container runtimes keep those of pods by name;
// any other has a process in it.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { native } from '../../native/index.ts';

export interface NamespacePlaces {
  readonly proc: string;
  readonly named: readonly string[];
}

const usualPlaces: NamespacePlaces = { proc: '/proc', named: ['/run/netns', '/var/run/netns'] };

/** Paths by cookie. One that is missing has gone, or cannot be seen from here. */
export async function findNamespaces(
  wanted: ReadonlySet<bigint>,
  places = usualPlaces,
): Promise<ReadonlyMap<bigint, string>> {
  const found = new Map<bigint, string>();
  const seen = new Set<bigint>();
  for (const list of [namedNamespaces, namespacesOfProcesses]) {
    if ([...wanted].every((cookie) => found.has(cookie))) break;
    const paths = await distinct(await list(places), seen);
    const cookies = await native().netnsCookies(paths);
    for (const [index, cookie] of cookies.entries())
      if (wanted.has(cookie)) found.set(cookie, paths[index] ?? '');
  }
  return found;
}

/** A path of each namespace there is, for kernels that do not tell their cookies. */
export async function listNamespaces(places = usualPlaces): Promise<readonly string[]> {
  return distinct([...(await namedNamespaces(places)), ...(await namespacesOfProcesses(places))], new Set());
}

async function namedNamespaces({ named }: NamespacePlaces): Promise<string[]> {
  const lists = await Promise.all(named.map(async (folder) => entriesOf(folder)));
  return lists.flat();
}

async function namespacesOfProcesses({ proc }: NamespacePlaces): Promise<string[]> {
  const entries = await entriesOf(proc);
  return entries.filter((path) => /\/\d+$/.test(path)).map((path) => join(path, 'ns/net'));
}

async function entriesOf(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.map((name) => join(folder, name));
}

/**
 * One path for each inode that was not seen before. One after the other: nothing waits for it, and the pool's threads stay
 * free. A path that has gone meanwhile is left out.
 */
async function distinct(paths: readonly string[], seen: Set<bigint>): Promise<readonly string[]> {
  const fresh: string[] = [];
  for (const path of paths) {
    const ino = await stat(path, { bigint: true }).then(
      (found) => found.ino,
      () => undefined,
    );
    if (ino === undefined || seen.has(ino)) continue;
    seen.add(ino);
    fresh.push(path);
  }
  return fresh;
}
