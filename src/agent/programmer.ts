// Programs changed Services into the kernel, attaches the programs once the first ones are there, and knows what is
// missing before the agent is ready.
import type { SyncHealth } from '../health/sync.ts';
import type { Dataplane } from '../maps/plane.ts';
import { describeShortage } from '../maps/sizes.ts';
import { publish } from '../observe/channels.ts';
import { ProgrammingLatency } from '../observe/latency.ts';
import type { Change, SourceKind, SourceProblem, SourceSink } from '../source/objects.ts';
import { triggerTimeOf } from '../source/parse/endpointslice.ts';
import type { Store } from '../source/store.ts';

export interface ProgrammerOptions {
  readonly plane: Pick<Dataplane, 'update' | 'idle' | 'synced' | 'ports' | 'shortages' | 'growing'>;
  readonly health: SyncHealth;
  /** Called before Services are written: the hash seed of their Maglev tables must be there first. */
  readonly prepare?: () => void;
  /** Attaches the programs. */
  readonly attach: () => void;
  /** Called with Services (namespace/name) as soon as packets meet their new rows. */
  readonly onWritten?: (services: ReadonlySet<string>) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** In /readyz and the log; the status lists all of them. */
const shownAtMost = 20;

export class Programmer {
  readonly health: SyncHealth;
  readonly #options: ProgrammerOptions;
  readonly #begun = performance.now();
  readonly #latency: ProgrammingLatency;
  #queued = new Set<string>();
  #listed = false;
  #attached = false;
  #ready = false;
  #waiting = false;
  #stopped = false;

  constructor(options: ProgrammerOptions) {
    this.#options = options;
    this.health = options.health;
    this.#latency = new ProgrammingLatency(options.now ?? Date.now);
  }

  /**
   * What is missing before the agent is ready, a line each; [] once everything that was listed at start is in the
   * kernel. Services that do not fit into the tables are listed at any time, and so is a change that waits for larger
   * ones.
   */
  missing(): readonly string[] {
    const { growing } = this.#options.plane;
    const waiting = growing ? ['larger tables are being made: the latest changes are not written yet'] : [];
    return [...(this.#ready ? [] : this.#unfinished()), ...waiting, ...this.#unserved()];
  }

  #unserved(): readonly string[] {
    const { shortages } = this.#options.plane;
    const lines = shortages.slice(0, shownAtMost).map(describeShortage);
    const more = shortages.length - lines.length;
    return more === 0 ? lines : [...lines, `${String(more)} more Services: not programmed`];
  }

  #unfinished(): readonly string[] {
    if (!this.#listed) return ['the source has not listed all objects yet'];
    if (!this.#options.plane.synced) return ['rows of Services are being written'];
    return this.#attached ? [] : ['programs are not attached'];
  }

  /** Whether the source has listed all objects. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Attaches the programs, if they are not attached yet. */
  attachNow(): void {
    if (this.#attached) return;
    this.#options.attach();
    this.#attached = true;
  }

  /** Changes that come later are ignored; the programs stay attached. */
  stop(): void {
    this.#stopped = true;
  }

  /** Recomputes these Services (namespace/name) and writes what differs; returns at once. */
  update(services: readonly string[]): void {
    if (this.#stopped) return;
    this.health.queued();
    for (const service of services) this.#queued.add(service);
    publish('services.queued', { services: this.#queued.size });
    this.#options.prepare?.();
    this.#options.plane.update(services);
    if (!this.#waiting) void this.#await();
  }

  /** Passes what the source says to the store, counts it for the metrics and logs its problems. */
  sink(store: Store, description: string): SourceSink {
    let known = new Map<string, SourceProblem>();
    return {
      changes: (batch) => {
        this.#countChanges(batch);
        store.changes(batch);
      },
      synced: () => {
        this.#listed = true;
        publish('source.synced', { source: description });
        store.synced();
      },
      problems: (list) => {
        const current = new Map(
          list.map((problem) => [`${problem.where} ${problem.field} ${problem.message}`, problem]),
        );
        reportProblems(known, current);
        known = current;
        store.problems(list);
      },
    };
  }

  async #await(): Promise<void> {
    this.#waiting = true;
    await this.#options.plane.idle();
    this.#waiting = false;
    if (this.#stopped || !this.#options.plane.synced) return;
    this.health.synced();
    this.attachNow(); // even if some Services do not fit: the others are served
    if (!this.#ready && this.#options.plane.shortages.length === 0) this.#becomeReady();
    const written = this.#queued;
    this.#queued = new Set();
    this.#latency.written(written);
    publish('services.written', { services: written.size });
    this.#options.onWritten?.(written);
  }

  #countChanges(batch: readonly Change[]): void {
    const counts: Record<SourceKind, number> = {
      Service: 0,
      EndpointSlice: 0,
      Node: 0,
      Namespace: 0,
      Pod: 0,
    };
    for (const change of batch) {
      counts[change.op === 'put' ? change.object.kind : change.kind]++;
      measureLatency(this.#latency, change);
    }
    publish('source.changed', { services: counts.Service, slices: counts.EndpointSlice });
  }

  #becomeReady(): void {
    this.#ready = true;
    const names = this.#options.plane
      .ports()
      .map(({ port }) => `${port?.namespace ?? ''}/${port?.name ?? ''}`);
    const tookMs = Math.round(performance.now() - this.#begun);
    publish('agent.ready', { services: new Set(names).size, tookMs });
  }
}

function measureLatency(latency: ProgrammingLatency, change: Change): void {
  if (change.op === 'del') {
    if (change.kind === 'EndpointSlice') latency.removed(`${change.namespace}/${change.name}`);
    return;
  }
  const { object } = change;
  if (object.kind !== 'EndpointSlice' || object.serviceName === '' || object.addressType === 'FQDN') return;
  const { namespace, name } = object.meta;
  latency.changed({
    slice: `${namespace}/${name}`,
    service: `${namespace}/${object.serviceName}`,
    family: object.addressType === 'IPv4' ? 4 : 6,
    triggeredAt: triggerTimeOf(object),
  });
}

function reportProblems(
  known: ReadonlyMap<string, SourceProblem>,
  current: ReadonlyMap<string, SourceProblem>,
): void {
  for (const [key, problem] of current) if (!known.has(key)) reportProblem(problem);
  for (const [key, { where }] of known) if (!current.has(key)) publish('source.recovered', { where });
}

function reportProblem({ failing = false, ...problem }: SourceProblem): void {
  const { where, message } = problem;
  if (failing) publish('source.failing', { where, message });
  else publish('source.problem', problem);
}
