// Processes that the socket hooks leave alone: what pods, namespaces, meshes and the options say of them, brought to the
// cgroups that they are in.
import { resolve } from 'node:path';
import { native, type BpfMap } from '../../native/index.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { PodCgroupTrees, uidKey, type PodCgroups } from '../kernel/podcgroups.ts';
import { writeExempt } from '../maps/exempt.ts';
import { exemptPods, type ExemptPod, type ExemptReason } from '../model/exempt.ts';
import { publish } from '../observe/channels.ts';
import type { Store } from '../source/store.ts';

/**
 * Kubelet makes the cgroup of a pod soon after it has heard of the pod, which may be later than we do, and always before
 * there is a process in it. Who is slower than this is found with the resync of devices, or when the pod gets its own.
 */
const firstWaitMs = 50;
const longestWaitMs = 1_000;
const maxWaits = 35; // some 30 s

export interface ExemptingOptions {
  readonly cgroup: string; // folder of the node
  readonly skip: readonly string[]; // --socket-hooks-skip
  readonly map: BpfMap;
  readonly store: Pick<Store, 'complete' | 'pods' | 'namespace'>;
}

/** For the status. */
export interface Exemption {
  readonly reason: ExemptReason;
  readonly name: string; // namespace/name of a pod, or the cgroup as the option has it
  readonly mesh: string; // "" when it is not the reason
  readonly cgroups: number; // 0: none is found, and it is not left alone
}

interface Located extends Omit<Exemption, 'cgroups'> {
  readonly ids: readonly number[];
  /** Why there are none. */
  readonly problem: string;
}

export class Exempting {
  readonly #options: ExemptingOptions;
  readonly #trees: PodCgroupTrees;
  #located: readonly Located[] = [];
  #awaited: ReadonlySet<string> = new Set();
  #told = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #waits = 0;
  #stopped = false;

  constructor(options: ExemptingOptions) {
    this.#options = options;
    this.#trees = new PodCgroupTrees(options.cgroup);
  }

  list(): readonly Exemption[] {
    return this.#located.map(({ reason, name, mesh, ids }) => ({ reason, name, mesh, cgroups: ids.length }));
  }

  /** The same, with trees of cgroups that are not known yet. Takes its time, and leaves the loop to others meanwhile. */
  async search(): Promise<void> {
    if (this.#located.some(({ reason }) => reason !== 'option')) await this.#trees.rediscover();
    this.refresh();
  }

  /** Looks for the cgroups of pods in the trees that are known. What an earlier agent has written stays until all pods are known. */
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
      publish('exempt.failed', { who: 'all', error });
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

  /** Looks again soon for pods that are waited for. Who is not found by then is told, and looked for at every resync. */
  #await(): void {
    const missing = this.#located.filter(({ ids }) => ids.length === 0);
    const pods = missing.filter(({ reason }) => reason !== 'option').map(({ name }) => name);
    if (pods.some((name) => !this.#awaited.has(name))) this.#waits = 0;
    this.#awaited = new Set(pods);
    clearTimeout(this.#timer);
    const waits = pods.length > 0 && this.#waits < maxWaits;
    if (waits) this.#timer = setTimeout(() => this.#again(), waitMs(this.#waits));
    const names = new Set(missing.map(({ name }) => name));
    this.#told = new Set([...this.#told].filter((name) => names.has(name)));
    this.#tell(missing.filter(({ reason }) => reason === 'option' || !waits));
  }

  #again(): void {
    this.#waits++;
    void this.search();
  }

  #tell(missing: readonly Located[]): void {
    for (const { name, problem } of missing.filter((one) => !this.#told.has(one.name))) {
      publish('exempt.failed', { who: name, error: new SluiceError('SLB_E_EXEMPT', problem) });
      this.#told.add(name);
    }
  }
}

function waitMs(waits: number): number {
  return Math.min(longestWaitMs, firstWaitMs * 2 ** waits);
}

function locate({ name, reason, mesh, cgroupUid }: ExemptPod, found: PodCgroups, root: string): Located {
  const { ids } = idsOf(found.get(uidKey(cgroupUid)) ?? []);
  const problem = `pod ${name} (uid ${cgroupUid}) has none below ${root}: give the agent the cgroup v2 folder of its node with --cgroup, and kubelet cgroup v2 alone`;
  return { reason, name, mesh, ids, problem };
}

/** Of those that are still there. */
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
