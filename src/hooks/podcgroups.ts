// The cgroups of pods, by the names that kubelet gives them. Its cgroup driver decides about their form:
//
//   cgroupfs   kubepods/burstable/podUID
//   systemd    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice    with _ for - in UID
//
// Pods that are guaranteed what they ask for stand directly in kubepods. All of it may be below a folder of kubelet's own
// (--cgroup-root), whose name the systemd driver then puts in front of every name below.
import { readdirSync } from 'node:fs';
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

export function findPodCgroups(root: string): PodCgroups {
  const found = new Map<string, string[]>();
  for (const tree of findTrees(root, treeLevels)) collectPods(tree, podLevels, found);
  return found;
}

function findTrees(folder: string, levels: number): readonly string[] {
  if (levels === 0) return [];
  return foldersIn(folder).flatMap((name) => {
    const path = join(folder, name);
    if (treeName.test(name)) return [path];
    return leafName.test(name) ? [] : findTrees(path, levels - 1);
  });
}

function collectPods(folder: string, levels: number, found: Map<string, string[]>): void {
  if (levels === 0) return;
  for (const name of foldersIn(folder)) {
    const path = join(folder, name);
    const [, plain, escaped] = podName.exec(name) ?? [];
    const uid = plain ?? escaped;
    if (uid === undefined) collectPods(path, levels - 1, found);
    else found.set(uidKey(uid), [...(found.get(uidKey(uid)) ?? []), path]);
  }
}

/** [] for a cgroup that has gone since it was listed. */
function foldersIn(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}
