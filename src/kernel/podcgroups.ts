// The cgroups of pods, by the names that kubelet gives them. Its cgroup driver decides about their form:
//
//   cgroupfs   kubepods/burstable/podUID
//   systemd    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice    with _ for - in UID
//
// Pods that are guaranteed what they ask for stand directly in kubepods. All of it may be below a folder of kubelet's own
// (--cgroup-root), whose name the systemd driver then puts in front of every name below.
import { readdirSync, type Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** How far below the node's cgroup the tree of pods may begin, and its pods below that. */
const treeLevels = 4;
const podLevels = 2;

const treeName = /(^|-)kubepods(\.slice)?$/;
const podName = /^pod(.+)$|-pod([^-]+)\.slice$/;
/** Units of systemd that hold processes and never pods: most of the folders there are. */
const leafName = /\.(service|scope|mount|socket|swap)$/;

/** Paths by the uid of the pod, as uidKey() writes it. */
export type PodCgroups = ReadonlyMap<string, readonly string[]>;

/** The same for both drivers. */
export function uidKey(uid: string): string {
  return uid.replaceAll('_', '-');
}

/** Trees of pods, known by their folders: the walk that finds them sees every slice of the node, a look into them only pods. */
export class PodCgroupTrees {
  readonly #root: string;
  #trees: readonly string[] | undefined;
  #walk: Promise<void> | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** In the trees that are known; the first call looks for them. */
  pods(): PodCgroups {
    this.#trees ??= walkNow(findTrees(this.#root, treeLevels));
    const found = new Map<string, string[]>();
    for (const tree of this.#trees)
      for (const [uid, path] of walkNow(findPods(tree, podLevels))) add(found, uid, path);
    return found;
  }

  /** Looks for the trees anew, with the loop free in between. One walk at a time. */
  async rediscover(): Promise<void> {
    this.#walk ??= walkSlowly(findTrees(this.#root, treeLevels)).then((trees) => {
      this.#trees = trees;
      this.#walk = undefined;
    });
    await this.#walk;
  }
}

function add(found: Map<string, string[]>, uid: string, path: string): void {
  found.set(uid, [...(found.get(uid) ?? []), path]);
}

/** Asks for the folders in a folder, one after another, and ends with what it has found. */
type Walk<Found> = Generator<string, readonly Found[], readonly string[]>;

function* findTrees(folder: string, levels: number): Walk<string> {
  if (levels === 0) return [];
  const found: string[] = [];
  for (const name of yield folder) {
    const path = join(folder, name);
    if (treeName.test(name)) found.push(path);
    else if (!leafName.test(name)) found.push(...(yield* findTrees(path, levels - 1)));
  }
  return found;
}

function* findPods(folder: string, levels: number): Walk<readonly [uid: string, path: string]> {
  if (levels === 0) return [];
  const found: (readonly [string, string])[] = [];
  for (const name of yield folder) {
    const path = join(folder, name);
    const [, plain, escaped] = podName.exec(name) ?? [];
    const uid = plain ?? escaped;
    if (uid !== undefined) found.push([uidKey(uid), path]);
    else if (!leafName.test(name)) found.push(...(yield* findPods(path, levels - 1)));
  }
  return found;
}

function walkNow<Found>(walk: Walk<Found>): readonly Found[] {
  let step = walk.next([]);
  while (step.done !== true)
    step = walk.next(foldersIn(() => readdirSync(step.value as string, { withFileTypes: true })));
  return step.value;
}

async function walkSlowly<Found>(walk: Walk<Found>): Promise<readonly Found[]> {
  let step = walk.next([]);
  while (step.done !== true) {
    const entries = await readdir(step.value, { withFileTypes: true }).catch(() => []);
    step = walk.next(foldersIn(() => entries));
  }
  return step.value;
}

/** [] for a cgroup that has gone since it was listed. */
function foldersIn(read: () => readonly Dirent[]): readonly string[] {
  try {
    return read().flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}
