// Processes that the socket hooks leave alone (annotation, label of a namespace, mesh sidecar, --socket-hooks-skip):
// finds the cgroups of their pods and writes them into slb_exempt.
import { resolve } from 'node:path';
import { native, type BpfMap } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { PodCgroupTrees, uidKey, type PodCgroups } from '../kernel/podcgroups.ts';
import { writeExempt } from '../maps/exempt.ts';
import { exemptPods, type ExemptPod, type ExemptReason } from '../model/exempt.ts';
import { publish } from '../observe/channels.ts';
import type { Store } from '../source/store.ts';

/**
 * Kubelet creates the cgroup of a pod before the first process of the pod, but perhaps after the agent has seen the
 * pod. Cgroups that take longer than these waits are found at the resync of devices, or when the pod changes.
 */
const firstWaitMs = 50;
const longestWaitMs = 1_000;
const maxWaits = 35; // some 30 s

export interface ExemptionOptions {
  readonly cgroup: string; // cgroup v2 folder of the node
  readonly skip: readonly string[]; // --socket-hooks-skip
  readonly map: BpfMap;
  readonly store: Pick<Store, 'complete' | 'pods' | 'namespace'>;
}

/** For the status. */
export interface Exemption {
  readonly reason: ExemptReason;
  readonly name: string; // namespace/name of a pod, or the cgroup as the option has it
  readonly mesh: string; // such as istio; "" where a mesh is not the reason
  readonly cgroups: number; // 0: none is found, so the hooks do not leave it alone
}

interface Located extends Omit<Exemption, 'cgroups'> {
  readonly ids: readonly number[];
  /** Why `ids` is empty. */
  readonly problem: string;
}

export class Exemptions {
  readonly #options: ExemptionOptions;
  readonly #trees: PodCgroupTrees;
  #located: readonly Located[] = [];
  #awaited: ReadonlySet<string> = new Set();
  #reported = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #waits = 0;
  #stopped = false;

  constructor(options: ExemptionOptions) {
    this.#options = options;
    this.#trees = new PodCgroupTrees(options.cgroup);
  }

  list(): readonly Exemption[] {
    return this.#located.map(({ reason, name, mesh, ids }) => ({ reason, name, mesh, cgroups: ids.length }));
  }

  /**
   * refresh() after a search for cgroup trees that are not known yet. Walks the file system without blocking the event
   * loop.
   */
  async search(): Promise<void> {
    if (this.#located.some(({ reason }) => reason !== 'option')) await this.#trees.rediscover();
    this.refresh();
  }

  /** Looks for the cgroups of pods in the known trees. Rows of an earlier agent stay until all pods are listed. */
  refresh(): void {
    const { store, map } = this.#options;
    if (!store.complete || this.#stopped) return;
    this.#located = [...this.#ofOption(), ...this.#ofPods()];
    const wanted = new Map(
      this.#located.flatMap(({ ids, reason }) => ids.map((id) => [id, reason] as const)),
    );
    try {
      const written = writeExempt(map, wanted);
      if (written > 0) publish('exempt.changed', { cgroups: wanted.size });
    } catch (error) {
      publish('exempt.failed', { subject: 'all', error });
    }
    this.#await();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #ofOption(): Located[] {
    const { cgroup, skip } = this.#options;
    return skip.map((name) => {
      const { ids, problem } = idsOf([resolve(cgroup, name)]);
      return { reason: 'option', name, mesh: '', ids, problem };
    });
  }

  #ofPods(): Located[] {
    const { cgroup, store } = this.#options;
    const pods = exemptPods(store.pods(), (name) => store.namespace(name));
    const found: PodCgroups = pods.length === 0 ? new Map() : this.#trees.pods();
    return pods.map((pod) => locate(pod, found, cgroup));
  }

  /**
   * Looks again soon for pods without a cgroup. Those not found by the last wait are logged, and looked for at every
   * resync.
   */
  #await(): void {
    const missing = this.#located.filter(({ ids }) => ids.length === 0);
    const pods = missing.filter(({ reason }) => reason !== 'option').map(({ name }) => name);
    if (pods.some((name) => !this.#awaited.has(name))) this.#waits = 0;
    this.#awaited = new Set(pods);
    clearTimeout(this.#timer);
    const waits = pods.length > 0 && this.#waits < maxWaits;
    if (waits) this.#timer = setTimeout(() => this.#again(), waitMs(this.#waits));
    const names = new Set(missing.map(({ name }) => name));
    this.#reported = new Set([...this.#reported].filter((name) => names.has(name)));
    this.#report(missing.filter(({ reason }) => reason === 'option' || !waits));
  }

  #again(): void {
    this.#waits++;
    void this.search();
  }

  #report(missing: readonly Located[]): void {
    for (const { name, problem } of missing.filter((one) => !this.#reported.has(one.name))) {
      publish('exempt.failed', { subject: name, error: new SluiceError('SLB_E_EXEMPT', problem) });
      this.#reported.add(name);
    }
  }
}

function waitMs(waits: number): number {
  return Math.min(longestWaitMs, firstWaitMs * 2 ** waits);
}

function locate({ name, reason, mesh, cgroupUid }: ExemptPod, found: PodCgroups, root: string): Located {
  const { ids } = idsOf(found.get(uidKey(cgroupUid)) ?? []);
  const problem = `pod ${name} (uid ${cgroupUid}) has no cgroup below ${root}: name the cgroup v2 folder of the node with --cgroup, and run kubelet with cgroup v2 only`;
  return { reason, name, mesh, ids, problem };
}

/** Ids of the cgroups that still exist, and why the last other one does not count. */
function idsOf(paths: readonly string[]): { ids: readonly number[]; problem: string } {
  const ids: number[] = [];
  let problem = '';
  for (const path of paths) {
    try {
      ids.push(native().cgroupId(path));
    } catch (error) {
      problem = `--socket-hooks-skip: ${path}: ${messageOf(error)}`;
    }
  }
  return { ids, problem };
}
