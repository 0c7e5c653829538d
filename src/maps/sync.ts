// Writes changes to the maps in transactions, each complete in itself, and yields to the event loop in between.
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

/** Grace period of retired sets. A packet reads a set for microseconds, or longer if its CPU is stopped (a VM). */
const graceMs = 1_000;
const firstRetryMs = 100;
const lastRetryMs = 30_000;
/** After so many failures of the same attempt, the state is restored from the maps and all is planned again. */
const maxTries = 3;

export interface SyncOptions {
  readonly state: TableState;
  readonly tables: Pick<Tables, 'apply'>;
  /** The current ports of a Service; [] when it is not proxied. */
  readonly portsOf: (service: string) => readonly ServicePort[];
  /** The state as restored from the maps. */
  readonly restore: () => Promise<TableState>;
  /**
   * Grows the maps to the needs of the state. undefined: none had to grow; false: the kernel refused. `pending`: number
   * of Services that are still to be planned.
   */
  readonly growMaps?: (pending: number) => Promise<boolean> | undefined;
  /** Called after each transaction is written. */
  readonly onWritten: (transaction: Transaction) => void;
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
  readonly #reported = new Set<string>(); // Services whose shortage was published
  readonly #refusals = new Refusals();
  readonly #unplannable = new Map<string, string>(); // error by Service, until the Service changes
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #idle: (() => void)[] = [];
  #attempt: Attempt | undefined;
  #listed = false; // the first update has come
  #leftoversPlanned = false; // the removal of rows that no Service has adopted
  #hostChanged = false;
  #host: HostFacts | undefined;
  #planned: string[] = []; // Services of the transaction that was planned last
  #failures = 0; // in a row
  #mustRestore = false; // the state must be restored from the maps before the next plan
  #epoch = 0; // number of restores
  #running = false;
  #waiting = false; // for the retry after a failure
  #complete = false;
  #stopped = false;
  #retryMs = firstRetryMs;
  #transactions = 0;
  #last: SyncRecord | undefined;
  #failingSince: Date | undefined;

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Services to plan again. The first call must have all of them: rows that none of them adopts are removed. */
  enqueue(services: Iterable<string>): void {
    for (const service of services) {
      this.#dirty.add(service);
      this.#unplannable.delete(service);
    }
    this.#listed = true;
    this.#kick();
  }

  /** Sets the facts of the host. They are written before all Services are known: existing connections need them. */
  setHost(facts: HostFacts): void {
    this.#host = facts;
    setHost(this.#options.state, facts);
    this.#hostChanged = true;
    this.#kick();
  }

  /** Everything of the first call is written. */
  get complete(): boolean {
    return this.#complete;
  }

  get busy(): boolean {
    return this.#running || this.#attempt !== undefined || this.#mustRestore || this.#pending;
  }

  /** The number of transactions, by which a comparison over several turns of the loop sees that rows have changed. */
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

  /** Rows stay as they are (S-104). Pending changes are dropped: the next agent plans them again. */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#wake();
  }

  get #pending(): boolean {
    return this.#dirty.size > 0 || this.#hostChanged || (this.#listed && !this.#leftoversPlanned);
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
      if (this.#mustRestore) await this.#restore();
      do {
        const attempt = this.#begin();
        const grown = this.#growMaps();
        const hasRows = grown === undefined || (await grown);
        if (this.#isStopped()) return;
        if (!hasRows) {
          this.#restoreNext();
          await this.#restore();
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

  /** A method, since it may change during an await. */
  #isStopped(): boolean {
    return this.#stopped;
  }

  /** During the first call, the Services that are still to be planned are known. */
  #growMaps(): Promise<boolean> | undefined {
    return this.#options.growMaps?.(this.#complete ? 0 : this.#dirty.size);
  }

  /** Plans everything again, on the restored state: Services for which maps were full may have rows now. */
  replan(): void {
    if (this.busy) return;
    this.#restoreNext();
    this.#kick();
  }

  /** Restores the state from the maps, so that rows keep their ids, and marks all Services and the host as changed. */
  async #restore(): Promise<void> {
    const { state, restore } = this.#options;
    const services = [...state.services.keys()];
    replaceState(state, await restore());
    this.#epoch++;
    this.#mustRestore = false;
    this.#leftoversPlanned = false;
    for (const service of [...services, ...this.#shortages.keys()])
      if (service !== '') this.#dirty.add(service);
    this.#shortages.clear();
    this.#refusals.replace([]);
    if (this.#host === undefined) return;
    setHost(state, this.#host);
    this.#hostChanged = true;
  }

  /** The attempt that failed before, or else a new one, of as many Services as one slice allows. */
  #begin(): Attempt {
    return (this.#attempt ??= this.#plan());
  }

  /** Writes one transaction. Returns the number of rows. */
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
    this.#options.onWritten(attempt.transaction);
    return countOps(attempt.ops);
  }

  #plan(): Attempt {
    const { state } = this.#options;
    const transaction = openTransaction();
    this.#planned = [];
    const pace = startPace();
    this.#shortages.delete('');
    for (const service of this.#dirty) {
      this.#dirty.delete(service);
      this.#planned.push(service);
      this.#shortages.delete(service);
      this.#planService(transaction, service);
      if (pace.due) break;
    }
    this.#hostChanged = false;
    if (this.#dirty.size === 0 && this.#listed && !this.#leftoversPlanned) {
      planLeftovers(state, transaction);
      this.#leftoversPlanned = true;
    }
    return { transaction, ops: closeTransaction(state, transaction) };
  }

  /** A Service that cannot be planned keeps what it had, and does not delay others. */
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
      // The state is half changed: it is restored before the next plan, which leaves this Service out.
      this.#unplannable.set(service, messageOf(error));
      throw error;
    }
  }

  /** Called after a repair with all rows that could not be written. */
  noteRefused(refused: readonly Refusal[]): void {
    this.#refusals.replace(refused);
    for (const [service, { refusal }] of this.#shortages)
      if (refusal !== undefined) this.#shortages.delete(service);
    this.#noteShortages(this.#refusals.shortages(this.#options.state));
    this.#tellServed();
  }

  #finish(tookMs: number, operations: number): void {
    const first = this.#leftoversPlanned && !this.#complete;
    this.#complete = this.#leftoversPlanned;
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
   * No change is lost: the same operations are tried again first. After `maxTries` failures, or an error of planning,
   * the state is restored from the maps and everything is planned again.
   */
  #fail(error: unknown): void {
    const retryMs = this.#retryMs;
    this.#retryMs = Math.min(retryMs * 2, lastRetryMs);
    this.#failingSince ??= new Date();
    this.#failures++;
    if (this.#attempt === undefined || this.#failures >= maxTries) this.#restoreNext();
    publish('sync.failed', { error, retryMs });
    this.#waiting = true;
    this.#later(retryMs, () => {
      this.#waiting = false;
      this.#kick();
    });
  }

  #restoreNext(): void {
    for (const service of this.#planned) this.#dirty.add(service);
    this.#attempt = undefined;
    this.#failures = 0;
    this.#mustRestore = true;
  }

  #noteShortages(found: readonly Shortage[]): void {
    for (const shortage of found) {
      const { service, refusal } = shortage;
      this.#shortages.set(service, shortage);
      if (this.#reported.has(service)) continue;
      this.#reported.add(service);
      const code = refusal === undefined ? 'SLB_E_MAP_FULL' : 'SLB_E_MAP';
      publish('service.unserved', {
        service,
        error: new SluiceError(code, describeShortage(shortage)),
      });
    }
  }

  #tellServed(): void {
    for (const service of this.#reported) {
      if (this.#shortages.has(service)) continue;
      this.#reported.delete(service);
      publish('service.served', { service });
    }
  }

  #retire(sets: readonly BackendSet[]): void {
    if (sets.length === 0) return;
    const epoch = this.#epoch;
    this.#later(graceMs, () => {
      if (epoch !== this.#epoch) return; // in the restored state they are free
      for (const set of sets) releaseSet(this.#options.state, set);
      this.#retryShortages();
      if (this.#pending) this.#kick();
    });
  }

  /** Rows have been freed: Services with shortages are planned again. */
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
