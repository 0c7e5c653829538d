// Brings what changed into the kernel: in rounds, each complete in itself, with the event loop free in between.
import type { HostFacts, ServicePort } from '../model/types.ts';
import { SluiceError } from '../errors.ts';
import { publish } from '../observe/channels.ts';
import { setHost, type BackendSet, type Ledger } from '../table/ledger.ts';
import { planLeftovers, planService } from '../table/plan.ts';
import { closeRound, openRound, settleRound, type Round, type Shortage } from '../table/round.ts';
import { countOps, type Ops } from '../table/rows.ts';
import { releaseSet } from '../table/take.ts';
import { startPace } from './pace.ts';
import { describeShortage } from './sizes.ts';
import type { Tables } from './tables.ts';

/** A packet reads a set for microseconds; this is long enough for one that is stopped in between. */
const graceMs = 1_000;
const firstRetryMs = 100;
const lastRetryMs = 30_000;

export interface SyncOptions {
  readonly ledger: Ledger;
  readonly tables: Pick<Tables, 'apply'>;
  /** What a service is now; [] when it is not proxied (any more). */
  readonly portsOf: (service: string) => readonly ServicePort[];
  /** Told of each round as soon as packets meet it. */
  readonly onRound: (round: Round) => void;
}

export interface SyncRecord {
  readonly at: Date;
  readonly tookMs: number;
  readonly operations: number;
}

interface Attempt {
  readonly round: Round;
  readonly ops: Ops;
}

export class Sync {
  readonly #options: SyncOptions;
  readonly #dirty = new Set<string>();
  readonly #shortages = new Map<string, Shortage>();
  readonly #told = new Set<string>(); // of their shortage: once, however often they are tried again
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #idle: (() => void)[] = [];
  #attempt: Attempt | undefined;
  #listed = false; // every service has been named
  #swept = false; // what none of them has claimed is being removed
  #hostChanged = false;
  #running = false;
  #waiting = false; // for the next try after a failure
  #complete = false;
  #stopped = false;
  #retryMs = firstRetryMs;
  #rounds = 0;
  #last: SyncRecord | undefined;
  #failingSince: Date | undefined;

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Services to look at again. The first call says that all are known, and ends with what is left over removed. */
  enqueue(services: Iterable<string>): void {
    for (const service of services) this.#dirty.add(service);
    this.#listed = true;
    this.#kick();
  }

  /** What the host is now. It waits for no Service: packets of connections that exist need it, too. */
  setHost(facts: HostFacts): void {
    setHost(this.#options.ledger, facts);
    this.#hostChanged = true;
    this.#kick();
  }

  /** Everything of the first call is in the kernel. */
  get complete(): boolean {
    return this.#complete;
  }

  get busy(): boolean {
    return this.#running || this.#attempt !== undefined || this.#pending;
  }

  /** Counts rounds: whoever compares over several turns of the loop learns that the tables moved on. */
  get rounds(): number {
    return this.#rounds;
  }

  get last(): SyncRecord | undefined {
    return this.#last;
  }

  get shortages(): readonly Shortage[] {
    return [...this.#shortages.values()];
  }

  /** Since when the kernel refuses what must be written; undefined when all is well. */
  get failingSince(): Date | undefined {
    return this.#failingSince;
  }

  /** Resolves when nothing waits to be written. */
  async settled(): Promise<void> {
    while (this.busy && !this.#stopped) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** What is written stays (S-104); what waits is dropped, and found again by the next agent. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#wake();
  }

  get #pending(): boolean {
    return this.#dirty.size > 0 || this.#hostChanged || (this.#listed && !this.#swept);
  }

  #kick(): void {
    if (!this.#running && !this.#waiting && !this.#stopped) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const begun = performance.now();
    let operations = 0;
    const pace = startPace();
    try {
      do {
        operations += this.#step();
        if (this.#pending) await pace.rest();
      } while (!this.#stopped && (this.#pending || this.#attempt !== undefined));
      this.#finish(performance.now() - begun, operations);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = false;
      this.#wake();
    }
  }

  /** One round: what failed before, else as many services as one slice of time allows. Returns the rows written. */
  #step(): number {
    const attempt = (this.#attempt ??= this.#plan());
    this.#options.tables.apply(attempt.ops);
    this.#attempt = undefined;
    this.#rounds++;
    settleRound(this.#options.ledger, attempt.round);
    this.#retire(attempt.round.retired);
    const { goneServices, goneBackends, goneRanges, goneDevices } = attempt.round;
    if ([goneServices, goneBackends, goneRanges, goneDevices].some((gone) => gone.length > 0))
      this.#retryShortages();
    this.#noteShortages(attempt.round.shortages);
    this.#options.onRound(attempt.round);
    return countOps(attempt.ops);
  }

  #plan(): Attempt {
    const { ledger, portsOf } = this.#options;
    const round = openRound();
    const pace = startPace();
    this.#shortages.delete('');
    for (const service of this.#dirty) {
      this.#dirty.delete(service);
      this.#shortages.delete(service);
      planService(ledger, round, service, portsOf(service));
      if (pace.due) break;
    }
    this.#hostChanged = false;
    if (this.#dirty.size === 0 && this.#listed && !this.#swept) {
      planLeftovers(ledger, round);
      this.#swept = true;
    }
    return { round, ops: closeRound(ledger, round) };
  }

  #finish(tookMs: number, operations: number): void {
    const first = this.#swept && !this.#complete;
    this.#complete = this.#swept;
    this.#retryMs = firstRetryMs;
    this.#failingSince = undefined;
    this.#tellServed();
    if (operations === 0 && !first) return;
    this.#last = { at: new Date(), tookMs, operations };
    publish('sync.done', { services: this.#options.ledger.services.size, operations, tookMs, first });
  }

  /** Nothing is lost: the same operations are tried again before anything else. */
  #fail(error: unknown): void {
    const retryMs = this.#retryMs;
    this.#retryMs = Math.min(retryMs * 2, lastRetryMs);
    this.#failingSince ??= new Date();
    publish('sync.failed', { error, retryMs });
    this.#waiting = true;
    this.#later(retryMs, () => {
      this.#waiting = false;
      this.#kick();
    });
  }

  #noteShortages(found: readonly Shortage[]): void {
    for (const shortage of found) {
      const { service, refusal } = shortage;
      this.#shortages.set(service, shortage);
      if (this.#told.has(service)) continue;
      this.#told.add(service);
      const code = refusal === undefined ? 'SLB_E_MAP_FULL' : 'SLB_E_MAP';
      publish('service.unserved', { service, error: new SluiceError(code, describeShortage(shortage)) });
    }
  }

  #tellServed(): void {
    for (const service of this.#told) {
      if (this.#shortages.has(service)) continue;
      this.#told.delete(service);
      publish('service.served', { service });
    }
  }

  #retire(sets: readonly BackendSet[]): void {
    if (sets.length === 0) return;
    this.#later(graceMs, () => {
      for (const set of sets) releaseSet(this.#options.ledger, set);
      this.#retryShortages();
      if (this.#pending) this.#kick();
    });
  }

  /** Room has come free: those that had none are looked at again. */
  #retryShortages(): void {
    for (const service of this.#shortages.keys()) {
      if (service === '') this.#hostChanged = true;
      else this.#dirty.add(service);
    }
  }

  #later(ms: number, task: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      task();
    }, ms);
    this.#timers.add(timer.unref());
  }

  #wake(): void {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
