// Connected UDP sockets whose backend has gone: no hook sees their datagrams, so nothing but their end moves them (S-90).
// Unconnected ones move by themselves, with their next datagram; TCP stays until it ends (S-89).
import type { BpfMap } from '../../native/index.ts';
import { decode, encode, type Layout } from '../abi/codec.ts';
import {
  slbBackend,
  slbService,
  slbServiceFlags,
  slbSocket,
  slbSocketFlags,
  slbSocketKey,
  type MapName,
  type SlbSocketRow,
} from '../abi/layout.gen.ts';
import { familyOf, formatAddress } from '../net/ip.ts';
import { slotOf } from '../table/ids.ts';
import type { Transaction } from '../table/transaction.ts';
import { protocolNumbers, type BackendRow } from '../table/rows.ts';
import type { StaleSocket } from '../kernel/socketreaper.ts';
import { guarded, readPages, writeWord } from './bpfmap.ts';
import { readCounters } from './counters.ts';
import { startPace } from './pace.ts';

export interface Situation {
  /** Its row is there, or another of the same service port has its address. */
  readonly backend: 'there' | 'back again' | 'gone';
  readonly service: 'served' | 'deserted' | 'gone';
}

/** `waits`: may end once its service changes. */
export type Fate = 'stays' | 'waits' | 'ends';

/**
 * As the datapath decides of a UDP flow. With its service gone a socket ends too: the backend's address may be another's by
 * now (S-20).
 */
export function fateOf({ backend, service }: Situation): Fate {
  if (backend === 'there') return 'stays';
  return backend === 'back again' || service === 'deserted' ? 'waits' : 'ends';
}

export interface StrandedOptions {
  readonly map: (name: MapName) => BpfMap;
  /** Of the service port with this id; [] when there is none. */
  readonly backendsOf: (service: number) => readonly BackendRow[];
}

const [protoAt, flagsAt] = ['proto', 'flags'].map(
  (field) => slbSocket.fields.find(({ name }) => name === field)!.offset,
) as [number, number];
const pageRows = 1_024;

export class StaleSockets {
  readonly #options: StrandedOptions;
  /** Ids of service ports that have sockets which wait. */
  #awaited = new Set<number>();

  constructor(options: StrandedOptions) {
    this.#options = options;
  }

  /** Whether a transaction that has just been written may have stranded sockets. Asks only about what the transaction has changed. */
  concerns({ goneBackends, goneServices, services }: Transaction): boolean {
    const isAwaited = (id: number): boolean => this.#awaited.has(id);
    if (goneServices.some(isAwaited) || services.some(({ after }) => isAwaited(after.id))) return true;
    const stats = this.#options.map('slb_be_stats');
    return goneBackends.some(
      // Slots beyond the counters may have sockets as well.
      ({ id, proto }) =>
        proto === protocolNumbers.UDP &&
        (slotOf(id) >= stats.info.maxEntries || readCounters(stats, slotOf(id)).active > 0),
    );
  }

  /** All there are, by the kernel's tables of this moment. A socket that the walk misses is found by a later one. */
  async find(stopped: () => boolean): Promise<readonly StaleSocket[]> {
    const found = new Map<bigint, StaleSocket>();
    const awaited = new Set<number>();
    const fates = new Map<number, Fate>(); // by backend: it is one for many sockets
    const pace = startPace();
    for (const { keys, values, count } of readPages(this.#options.map('slb_sockets'), pageRows)) {
      for (let index = 0; index < count; index++) {
        if (!isConnectedUdp(values, index * slbSocket.size)) continue;
        const row = decode(slbSocket, values, index * slbSocket.size);
        const fate = fates.get(row.backend) ?? this.#fateOf(row);
        fates.set(row.backend, fate);
        if (fate === 'waits') awaited.add(row.service);
        if (fate !== 'ends') continue;
        const { cookie } = decode(slbSocketKey, keys, index * slbSocketKey.size);
        const family = familyOf(formatAddress(row.backendAddr));
        found.set(cookie, { cookie, netns: row.netns, backend: row.backend, family });
      }
      // At once: an endpoint that comes while the walk goes on must not be missed.
      for (const service of awaited) this.#awaited.add(service);
      if (stopped()) return [];
      if (pace.due) await pace.rest();
    }
    this.#awaited = awaited;
    return [...found.values()];
  }

  /** Whether it still is: its program may have closed it, or connected it to another peer. */
  includes({ cookie, backend }: StaleSocket): boolean {
    const sockets = this.#options.map('slb_sockets');
    const value = guarded(sockets, () => sockets.get(encode(slbSocketKey, { cookie, index: 0 })));
    if (value === undefined || !isConnectedUdp(value, 0)) return false;
    const row = decode(slbSocket, value);
    return row.backend === backend && this.#fateOf(row) === 'ends';
  }

  #fateOf(row: SlbSocketRow): Fate {
    return fateOf({ backend: this.#backendOf(row), service: this.#serviceOf(row) });
  }

  #backendOf({ backend, service, backendAddr, backendPort }: SlbSocketRow): Situation['backend'] {
    if (this.#rowOf('slb_backends', slbBackend, backend) !== undefined) return 'there';
    const address = formatAddress(backendAddr);
    const isIt = (row: BackendRow): boolean => row.address === address && row.port === backendPort;
    return this.#options.backendsOf(service).some(isIt) ? 'back again' : 'gone';
  }

  #serviceOf({ service }: SlbSocketRow): Situation['service'] {
    const row = this.#rowOf('slb_services', slbService, service);
    if (row === undefined) return 'gone';
    return (row.flags & slbServiceFlags.SVC_ANY_ENDPOINT) === 0 ? 'deserted' : 'served';
  }

  /** undefined when the slot is free, or has another tenant. */
  #rowOf<Row extends { readonly id: number }>(
    name: MapName,
    layout: Layout<Row>,
    id: number,
  ): Row | undefined {
    const map = this.#options.map(name);
    const key = new Uint8Array(4);
    writeWord(key, 0, slotOf(id));
    const value = guarded(map, () => map.get(key));
    const row = value === undefined ? undefined : decode(layout, value);
    return row?.id === id ? row : undefined;
  }
}

function isConnectedUdp(values: Uint8Array, row: number): boolean {
  const { SOCKET_CONNECTED: connected, SOCKET_RETIRED: left } = slbSocketFlags;
  return (
    values[row + protoAt] === protocolNumbers.UDP &&
    (values[row + flagsAt]! & (connected | left)) === connected
  );
}
