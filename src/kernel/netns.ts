// Finds paths of network namespaces by their cookies, as BPF programs know them. Container runtimes mount those of pods
// under /run/netns; all others are found by their processes.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { native } from '../../native/index.ts';

export interface NamespacePlaces {
  readonly proc: string;
  readonly named: readonly string[];
}

const usualPlaces: NamespacePlaces = { proc: '/proc', named: ['/run/netns', '/var/run/netns'] };

/** Paths by cookie. A missing one has been deleted, or is not visible from this pid and mount namespace. */
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

/** One path per namespace, for kernels without SO_NETNS_COOKIE. */
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
 * One path per inode that is not in `seen`. Sequential, since it is not urgent and must not occupy the thread pool.
 * Paths that no longer exist are left out.
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
