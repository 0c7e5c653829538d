// The maps of the data path, as the rest of the agent uses them: writes services, reads counters and flows.
import type { BpfMap } from '../../native/index.ts';
import { SluiceError } from '../errors.ts';
import type { HostFacts, ServicePort } from '../model/types.ts';
import { publish } from '../observe/channels.ts';
import { slotOf } from '../table/ids.ts';
import { allPorts, backendsById, portById, type TableState, type PortState } from '../table/state.ts';
import { restoreState } from '../table/restore.ts';
import type { Transaction, Shortage } from '../table/transaction.ts';
import { countOps } from '../table/rows.ts';
import type { MapName } from '../abi/layout.gen.ts';
import type { Clock } from './clock.ts';
import {
  readAllCounters,
  readPacketCounts,
  readVerdicts,
  type Counters,
  type PacketCount,
  type VerdictCount,
} from './counters.ts';
import { findDrift } from './drift.ts';
import type { Lifetimes } from './flowlife.ts';
import type { FlowEntry } from './flowrows.ts';
import { listFlows, type FlowListing } from './flows.ts';
import type { Growth } from './growth.ts';
import { MapSizer } from './mapsizer.ts';
import { describeFill, isNearlyFull, type MapFill } from './sizes.ts';
import { sweep, type RowCount, type TableCount } from './sweep.ts';
import { StaleSockets } from './stalesockets.ts';
import { Sync, type SyncRecord } from './sync.ts';
import { openTables, type OpenMaps, type Tables } from './tables.ts';

const checkEveryMs = 60_000; // S-106
const sweepEveryMs = 10_000;
const firstSweepMs = 1_000; // soon, to count adopted rows
const sweepShare = 100; // the pause is at least 100 times the duration of a sweep: 1 % of a CPU

export interface DataplaneOptions {
  readonly maps: OpenMaps;
  readonly clock: Clock;
  readonly lifetimes: Lifetimes;
  /** The current ports of a Service (namespace/name); [] when it is not proxied. */
  readonly portsOf: (service: string) => readonly ServicePort[];
  /** How maps are made larger; undefined: they keep their sizes. */
  readonly growth?: Growth;
}

export class Dataplane {
  readonly staleSockets: StaleSockets;
  readonly #options: DataplaneOptions;
  readonly #tables: Tables;
  readonly #state: TableState;
  readonly #sync: Sync;
  readonly #sizer: MapSizer;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #staleListeners: (() => void)[] = [];
  #flowCounts: readonly TableCount[] = [];
  #rowCounts: readonly RowCount[] = [];
  readonly #filling = new Set<MapName>(); // reported as nearly full
  #stopped = false;

  private constructor(options: DataplaneOptions, tables: Tables, sizer: MapSizer, state: TableState) {
    this.#options = options;
    this.#tables = tables;
    this.#sizer = sizer;
    this.#state = state;
    const map = (name: MapName): BpfMap => tables.map(name);
    this.staleSockets = new StaleSockets({
      map,
      backendsOf: (service) => backendsById(state, service),
    });
    const onWritten = (transaction: Transaction): void => {
      if (this.staleSockets.concerns(transaction)) for (const listener of this.#staleListeners) listener();
      this.#watchFill();
    };
    this.#sync = new Sync({
      state,
      tables,
      portsOf: options.portsOf,
      onWritten,
      restore: async () => restoreState(sizer.capacity, await tables.read()),
      growMaps: (pending) => sizer.growFor(state, pending),
    });
  }

  /** Restores the state from the maps: rows of an earlier agent keep their ids. Writes nothing. */
  static async open(options: DataplaneOptions): Promise<Dataplane> {
    const tables = openTables(options.maps);
    const sizer = new MapSizer(tables, options.growth);
    return new Dataplane(options, tables, sizer, restoreState(sizer.capacity, await tables.read()));
  }

  /** Services to plan again; the first call must have all of them (S-102). */
  update(services: Iterable<string>): void {
    this.#sync.enqueue(services);
  }

  /** Sets addresses, devices and ranges of pods of this host. To be called whenever one of them changes. */
  setHost(facts: HostFacts): void {
    this.#sync.setHost(facts);
  }

  /** Calls `listener` after a transaction that may have made sockets stale. */
  onStale(listener: () => void): void {
    this.#staleListeners.push(listener);
  }

  /** Starts the regular tasks: repair of drift, garbage collection of flows. */
  start(): void {
    const rest = ({ cpuMs }: { cpuMs: number }): number => Math.max(sweepEveryMs, cpuMs * sweepShare);
    this.#every(firstSweepMs, async () => rest(await this.sweep()));
    this.#every(checkEveryMs, async () => {
      await this.repair();
      if (this.#sizer.isRetryDue) this.grow();
      return checkEveryMs;
    });
  }

  /** Stops writing. The data path goes on with the maps as they are (S-104). */
  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#sync.stop();
    this.#sizer.stop();
  }

  /** Everything of the first update is written. */
  get synced(): boolean {
    return this.#sync.complete;
  }

  /** What is planned waits for larger tables. */
  get growing(): boolean {
    return this.#sizer.growing;
  }

  get lastSync(): SyncRecord | undefined {
    return this.#sync.last;
  }

  /** Since when writes to the maps have failed; undefined when they do not. */
  get failingSince(): Date | undefined {
    return this.#sync.failingSince;
  }

  /** Services whose rows could not be planned or written. */
  get shortages(): readonly Shortage[] {
    return this.#sync.shortages;
  }

  /** Resolves when nothing waits to be written. */
  idle(): Promise<void> {
    return this.#sync.idle();
  }

  /** All service ports. */
  ports(): readonly PortState[] {
    return allPorts(this.#state);
  }

  portsOf(service: string): readonly PortState[] {
    return this.#state.services.get(service) ?? [];
  }

  /** The service port with this id; undefined when it was removed. */
  portById(id: number): PortState | undefined {
    return portById(this.#state, id);
  }

  /** Counters by id of a service port, read at the time of the call; undefined beyond the rows of counters. */
  serviceCounters(): (id: number) => Counters | undefined {
    return this.#counters('slb_svc_stats', (portState) => [portState.row.id]);
  }

  backendCounters(): (id: number) => Counters | undefined {
    return this.#counters('slb_be_stats', (portState) => portState.backends.map((row) => row.id));
  }

  /** The number of backends without counters. */
  get uncounted(): number {
    const rows = this.#tables.map('slb_be_stats').info.maxEntries;
    if (this.#state.backendIds.end <= rows) return 0;
    const isBeyond = ({ id }: { readonly id: number }): boolean => slotOf(id) >= rows;
    return this.ports().reduce((sum, { backends }) => sum + backends.filter(isBeyond).length, 0);
  }

  verdicts(): readonly VerdictCount[] {
    return readVerdicts(this.#tables.map('slb_verdicts'));
  }

  /** What happened to packets besides how they ended. */
  packetCounts(): readonly PacketCount[] {
    return readPacketCounts(this.#tables.map('slb_counters'));
  }

  flows(wanted: (flow: FlowEntry) => boolean, limit: number, cursor?: string): FlowListing {
    const { clock } = this.#options;
    return listFlows({ map: (name) => this.#tables.map(name), clock }, wanted, limit, cursor);
  }

  /** As of the last sweep. */
  flowCounts(): readonly TableCount[] {
    return this.#flowCounts;
  }

  fill(): readonly MapFill[] {
    const { frontends, serviceIds, backendIds, setRows, slotRows, tables, rangeRows, deviceRows } =
      this.#state;
    const pools = {
      slb_frontends: frontends,
      slb_services: serviceIds,
      slb_backends: backendIds,
      slb_sets: setRows,
      slb_slots: slotRows,
      slb_maglev: tables.ranges,
      slb_ranges: rangeRows,
      slb_devices: deviceRows,
    } satisfies Partial<Record<MapName, { used: number; capacity: number }>>;
    const entries = Object.entries(pools) as [keyof typeof pools, { used: number; capacity: number }][];
    return [
      ...entries.map(([name, pool]) => ({
        name,
        used: pool.used,
        ...this.#sizer.sizeOf(name, pool.capacity),
      })),
      ...[...this.#flowCounts, ...this.#rowCounts].map(({ map, entries: used }) => {
        const size = this.#tables.map(map).info.maxEntries;
        return { name: map, used, size, bound: size };
      }),
    ];
  }

  async sweep(): Promise<{ cpuMs: number }> {
    const { clock, lifetimes } = this.#options;
    const stopped = (): boolean => this.#stopped;
    const result = await sweep({
      map: (name) => this.#tables.map(name),
      clock,
      lifetimes,
      stopped,
    });
    this.#flowCounts = result.counts;
    this.#rowCounts = result.rows;
    this.#watchFill();
    return result;
  }

  /** Compares the maps with the state and writes rows that differ. Returns the number of rows. */
  async repair(): Promise<number> {
    if (!this.synced || this.#sync.busy) return 0;
    const { transactions } = this.#sync;
    const moved = (): boolean => this.#stopped || this.#sync.busy || this.#sync.transactions !== transactions;
    const ops = await findDrift(this.#state, this.#tables, moved).catch((error: unknown) => {
      if (moved()) return undefined; // a larger map has replaced one that was being read
      throw error;
    });
    if (ops === undefined) return 0;
    const refused = this.#tables.apply(ops);
    this.#sync.noteRefused(refused);
    const count = countOps(ops) - refused.length;
    if (count === 0) return 0;
    const detail = `${String(count)} rows had been changed by another program, and were written again`;
    publish('agent.fault', { error: new SluiceError('SLB_E_MAP', detail) });
    return count;
  }

  /** Tries to grow the maps again after a refusal, if Services need it. */
  grow(): void {
    if (this.shortages.length === 0 || this.#sync.busy) return;
    this.#sizer.retry();
    this.#sync.replan();
  }

  #watchFill(): void {
    for (const fill of this.fill()) {
      if (!isNearlyFull(fill)) this.#filling.delete(fill.name);
      else if (!this.#filling.has(fill.name)) {
        this.#filling.add(fill.name);
        publish('map.filling', { map: fill.name, detail: describeFill(fill) });
      }
    }
  }

  #counters(
    name: MapName,
    ids: (portState: PortState) => readonly number[],
  ): (id: number) => Counters | undefined {
    let last = 0;
    for (const portState of this.ports()) for (const id of ids(portState)) last = Math.max(last, slotOf(id));
    const bySlot = readAllCounters(this.#tables.map(name), last + 1);
    return (id) => bySlot(slotOf(id));
  }

  /**
   * Runs the task repeatedly; it returns the milliseconds until its next run. Errors are published, and do not end it.
   */
  #every(ms: number, task: () => Promise<number>): void {
    const run = async (): Promise<void> => {
      const next = await task().catch((error: unknown) => {
        publish('agent.fault', { error });
        return ms;
      });
      if (!this.#stopped) this.#every(next, task);
    };
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void run();
    }, ms);
    this.#timers.add(timer.unref());
  }
}
