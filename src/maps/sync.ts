// Brings what changed into the kernel: in transactions, each complete in itself, with the event loop free in between.
import type { HostFacts, ServicePort } from '../model/types.ts';
import { SluiceError, messageOf } from '../errors.ts';
import { publish } from '../observe/channels.ts';
import { replaceState, setHost, type TableState } from '../table/state.ts';
import type { BackendSet } from '../table/pool.ts';
import { planLeftovers, planService } from '../table/plan.ts';
import {
  closeTransaction,
  openTransaction,
  commit,
  type Transaction,
  type Shortage,
} from '../table/transaction.ts';
import { countOps, type Ops } from '../table/rows.ts';
import { releaseSet } from '../table/allocation.ts';
import { startPace } from './pace.ts';
import { describeShortage } from './sizes.ts';
import { Refusals } from './refusals.ts';
import type { Refusal, Tables } from './tables.ts';

/** A packet reads a set for microseconds; this is long enough for one that is stopped in between. */
const graceMs = 1_000;
const firstRetryMs = 100;
const lastRetryMs = 30_000;
/** So often the same attempt is tried; then what the state says is doubted, and not the kernel. */
const triesOfOneAttempt = 3;

export interface SyncOptions {
  readonly state: TableState;
  readonly tables: Pick<Tables, 'apply'>;
  /** What a service is now; [] when it is not proxied (any more). */
  readonly portsOf: (service: string) => readonly ServicePort[];
  /** The state that follows from what the kernel holds now. */
  readonly restore: () => Promise<TableState>;
  /**
   * Makes room for all that the state asks for, and says whether there is; undefined when nothing had to be done. `pending`: Services that
   * are still to be planned.
   */
  readonly makeRoom?: (pending: number) => Promise<boolean> | undefined;
  /** Told of each transaction as soon as packets meet it. */
  readonly onRound: (transaction: Transaction) => void;
}

export interface SyncRecord {
  readonly at: Date;
  readonly tookMs: number;
  readonly operations: number;
}

interface Attempt {
  readonly transaction: Transaction;
  readonly ops: Ops;
}

export class Sync {
  readonly #options: SyncOptions;
  readonly #dirty = new Set<string>();
  readonly #shortages = new Map<string, Shortage>();
  readonly #told = new Set<string>(); // of their shortage: once, however often they are tried again
  readonly #refusals = new Refusals();
  readonly #unplannable = new Map<string, string>(); // why; until the Service changes
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #idle: (() => void)[] = [];
  #attempt: Attempt | undefined;
  #listed = false; // every service has been named
  #swept = false; // what none of them has claimed is being removed
  #hostChanged = false;
  #host: HostFacts | undefined;
  #taken: string[] = []; // services of the transaction that was planned last
  #failures = 0; // in a row
  #distrusted = false; // the state: it is made anew from the kernel before anything else is planned
  #epoch = 0; // of the state
  #running = false;
  #waiting = false; // for the next try after a failure
  #complete = false;
  #stopped = false;
  #retryMs = firstRetryMs;
  #transactions = 0;
  #last: SyncRecord | undefined;
  #failingSince: Date | undefined;

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Services to look at again. The first call says that all are known, and ends with what is left over removed. */
  enqueue(services: Iterable<string>): void {
    for (const service of services) {
      this.#dirty.add(service);
      this.#unplannable.delete(service);
    }
    this.#listed = true;
    this.#kick();
  }

  /** What the host is now. It waits for no Service: packets of connections that exist need it, too. */
  setHost(facts: HostFacts): void {
    this.#host = facts;
    setHost(this.#options.state, facts);
    this.#hostChanged = true;
    this.#kick();
  }

  /** Everything of the first call is in the kernel. */
  get complete(): boolean {
    return this.#complete;
  }

  get busy(): boolean {
    return this.#running || this.#attempt !== undefined || this.#distrusted || this.#pending;
  }

  /** Counts transactions: a comparison over several turns of the loop learns from it that the tables moved on. */
  get transactions(): number {
    return this.#transactions;
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
  async idle(): Promise<void> {
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
      if (this.#distrusted) await this.#rebuild();
      do {
        const attempt = this.#begin();
        const room = this.#makeRoom();
        const hasRoom = room === undefined || (await room);
        if (this.#isStopped()) return;
        if (!hasRoom) {
          this.#distrust();
          await this.#rebuild();
        } else operations += this.#step(attempt);
        if (this.#pending) await pace.rest();
      } while (!this.#isStopped() && (this.#pending || this.#attempt !== undefined));
      this.#finish(performance.now() - begun, operations);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#running = false;
      this.#wake();
    }
  }

  /** Anew each time: it may be stopped while it waits. */
  #isStopped(): boolean {
    return this.#stopped;
  }

  /** Of the first call, all that is listed is known to come. */
  #makeRoom(): Promise<boolean> | undefined {
    return this.#options.makeRoom?.(this.#complete ? 0 : this.#dirty.size);
  }

  /** Plans everything anew, on what the kernel has: what did not fit before may now. */
  replan(): void {
    if (this.busy) return;
    this.#distrust();
    this.#kick();
  }

  /** Every Service and the host are planned again, on what the kernel has: its rows keep their ids. */
  async #rebuild(): Promise<void> {
    const { state, restore } = this.#options;
    const services = [...state.services.keys()];
    replaceState(state, await restore());
    this.#epoch++;
    this.#distrusted = false;
    this.#swept = false;
    for (const service of [...services, ...this.#shortages.keys()])
      if (service !== '') this.#dirty.add(service);
    this.#shortages.clear();
    this.#refusals.replace([]);
    if (this.#host === undefined) return;
    setHost(state, this.#host);
    this.#hostChanged = true;
  }

  /** One transaction: what failed before, else as many services as one slice of time allows. */
  #begin(): Attempt {
    return (this.#attempt ??= this.#plan());
  }

  /** Returns the rows written. */
  #step(attempt: Attempt): number {
    this.#refusals.add(this.#options.tables.apply(attempt.ops));
    this.#attempt = undefined;
    this.#failures = 0;
    this.#transactions++;
    commit(this.#options.state, attempt.transaction);
    this.#retire(attempt.transaction.retired);
    const { goneServices, goneBackends, goneRanges, goneDevices } = attempt.transaction;
    if ([goneServices, goneBackends, goneRanges, goneDevices].some((gone) => gone.length > 0))
      this.#retryShortages();
    this.#noteShortages([...attempt.transaction.shortages, ...this.#refusals.shortages(this.#options.state)]);
    this.#options.onRound(attempt.transaction);
    return countOps(attempt.ops);
  }

  #plan(): Attempt {
    const { state } = this.#options;
    const transaction = openTransaction();
    this.#taken = [];
    const pace = startPace();
    this.#shortages.delete('');
    for (const service of this.#dirty) {
      this.#dirty.delete(service);
      this.#taken.push(service);
      this.#shortages.delete(service);
      this.#planService(transaction, service);
      if (pace.due) break;
    }
    this.#hostChanged = false;
    if (this.#dirty.size === 0 && this.#listed && !this.#swept) {
      planLeftovers(state, transaction);
      this.#swept = true;
    }
    return { transaction, ops: closeTransaction(state, transaction) };
  }

  /** A Service that cannot be planned keeps what it had, and holds up none. */
  #planService(transaction: Transaction, service: string): void {
    const { state, portsOf } = this.#options;
    let ports: readonly ServicePort[];
    try {
      ports = portsOf(service);
    } catch (error) {
      transaction.shortages.push({ service, map: '', refusal: messageOf(error) });
      return;
    }
    const why = this.#unplannable.get(service);
    if (why !== undefined) {
      transaction.shortages.push({ service, map: '', refusal: why });
      return;
    }
    try {
      planService(state, transaction, service, ports);
    } catch (error) {
      // The state is changed half-way: the next plan begins with another one, and leaves this Service out.
      this.#unplannable.set(service, messageOf(error));
      throw error;
    }
  }

  /** After a comparison with the kernel: all the rows that are not in it. */
  noteRefused(refused: readonly Refusal[]): void {
    this.#refusals.replace(refused);
    for (const [service, { refusal }] of this.#shortages)
      if (refusal !== undefined) this.#shortages.delete(service);
    this.#noteShortages(this.#refusals.shortages(this.#options.state));
    this.#tellServed();
  }

  #finish(tookMs: number, operations: number): void {
    const first = this.#swept && !this.#complete;
    this.#complete = this.#swept;
    this.#retryMs = firstRetryMs;
    this.#failingSince = undefined;
    this.#tellServed();
    if (operations === 0 && !first) return;
    this.#last = { at: new Date(), tookMs, operations };
    publish('sync.done', {
      services: this.#options.state.services.size,
      operations,
      tookMs,
      first,
    });
  }

  /**
   * Nothing is lost: the same operations are tried again before anything else. Where that fails again and again, or there was no plan,
   * the kernel is asked what it has, and all is planned anew.
   */
  #fail(error: unknown): void {
    const retryMs = this.#retryMs;
    this.#retryMs = Math.min(retryMs * 2, lastRetryMs);
    this.#failingSince ??= new Date();
    this.#failures++;
    if (this.#attempt === undefined || this.#failures >= triesOfOneAttempt) this.#distrust();
    publish('sync.failed', { error, retryMs });
    this.#waiting = true;
    this.#later(retryMs, () => {
      this.#waiting = false;
      this.#kick();
    });
  }

  #distrust(): void {
    for (const service of this.#taken) this.#dirty.add(service);
    this.#attempt = undefined;
    this.#failures = 0;
    this.#distrusted = true;
  }

  #noteShortages(found: readonly Shortage[]): void {
    for (const shortage of found) {
      const { service, refusal } = shortage;
      this.#shortages.set(service, shortage);
      if (this.#told.has(service)) continue;
      this.#told.add(service);
      const code = refusal === undefined ? 'SLB_E_MAP_FULL' : 'SLB_E_MAP';
      publish('service.unserved', {
        service,
        error: new SluiceError(code, describeShortage(shortage)),
      });
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
    const epoch = this.#epoch;
    this.#later(graceMs, () => {
      if (epoch !== this.#epoch) return; // the state is another, and has them free already
      for (const set of sets) releaseSet(this.#options.state, set);
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
