// Finds the cgroups of pods by the names that the kubelet gives them, which depend on its cgroup driver:
//
//   cgroupfs   kubepods/burstable/podUID
//   systemd    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice    with _ for - in UID
//
// Pods of QoS class Guaranteed are directly in kubepods. All of it may be below the kubelet's --cgroup-root, whose name
// the systemd driver then prepends to every name below.
import { readdirSync, type Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Levels below the cgroup of the node at which kubepods is searched for, and levels of pods below it. */
const treeLevels = 4;
const podLevels = 2;

const treeName = /(^|-)kubepods(\.slice)?$/;
const podName = /^pod(.+)$|-pod([^-]+)\.slice$/;
/** Systemd units, which have no pods below: most cgroups are such. */
const leafName = /\.(service|scope|mount|socket|swap)$/;

/** Paths by uidKey() of the pod. */
export type PodCgroups = ReadonlyMap<string, readonly string[]>;

/** The uid in a form that is the same for both drivers. */
export function uidKey(uid: string): string {
  return uid.replaceAll('_', '-');
}

/**
 * The kubepods cgroups. Finding them means walking all slices of the node, so they are cached; pods are read each time.
 */
export class PodCgroupTrees {
  readonly #root: string;
  #trees: readonly string[] | undefined;
  #walk: Promise<void> | undefined;

  constructor(root: string) {
    this.#root = root;
  }

  /** Pods in the known trees; the first call finds these. */
  pods(): PodCgroups {
    this.#trees ??= walkNow(findTrees(this.#root, treeLevels));
    const found = new Map<string, string[]>();
    for (const tree of this.#trees)
      for (const [uid, path] of walkNow(findPods(tree, podLevels))) add(found, uid, path);
    return found;
  }

  /** Finds the trees again, without blocking the event loop. One walk at a time. */
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

/** A walk that yields folders, is resumed with the names of their subfolders, and returns what it has found. */
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

/** [] for a cgroup that was removed since it was listed. */
function foldersIn(read: () => readonly Dirent[]): readonly string[] {
  try {
    return read().flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}
