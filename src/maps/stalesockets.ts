// Finds connected UDP sockets whose backend was removed (S-90). No hook sees their datagrams, so they must be destroyed
// for their program to connect again. Unconnected ones choose anew with the next datagram; TCP keeps its backend
// (S-89).
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

export interface SocketTarget {
  /** `replaced`: another backend of the same service port has its address. */
  readonly backend: 'present' | 'replaced' | 'removed';
  readonly service: 'served' | 'no endpoints' | 'removed';
}

/** `later`: it may have to be destroyed once its service changes. */
export type Decision = 'keep' | 'later' | 'destroy';

/**
 * The same rule as the data path has for UDP flows. If the service was removed, the socket is destroyed too: the
 * address of the backend may belong to another pod by now (S-20).
 */
export function decide({ backend, service }: SocketTarget): Decision {
  if (backend === 'present') return 'keep';
  return backend === 'replaced' || service === 'no endpoints' ? 'later' : 'destroy';
}

export interface StaleSocketOptions {
  readonly map: (name: MapName) => BpfMap;
  /** The backends of the service port with this id; [] when there is none. */
  readonly backendsOf: (service: number) => readonly BackendRow[];
}

const [protoAt, flagsAt] = ['proto', 'flags'].map(
  (field) => slbSocket.fields.find(({ name }) => name === field)!.offset,
) as [number, number];
const pageRows = 1_024;

export class StaleSockets {
  readonly #options: StaleSocketOptions;
  /** Ids of service ports that have sockets with the decision `later`. */
  #awaited = new Set<number>();

  constructor(options: StaleSocketOptions) {
    this.#options = options;
  }

  /** Whether the transaction that was just written may have made sockets stale. Looks at what it has changed only. */
  concerns({ goneBackends, goneServices, services }: Transaction): boolean {
    const isAwaited = (id: number): boolean => this.#awaited.has(id);
    if (goneServices.some(isAwaited) || services.some(({ after }) => isAwaited(after.id))) return true;
    const stats = this.#options.map('slb_be_stats');
    return goneBackends.some(
      // Backends beyond the rows of counters may have sockets too.
      ({ id, proto }) =>
        proto === protocolNumbers.UDP &&
        (slotOf(id) >= stats.info.maxEntries || readCounters(stats, slotOf(id)).active > 0),
    );
  }

  /** All stale sockets, by the rows in the kernel. A socket that the walk misses is found by a later one. */
  async find(stopped: () => boolean): Promise<readonly StaleSocket[]> {
    const found = new Map<bigint, StaleSocket>();
    const awaited = new Set<number>();
    const decisions = new Map<number, Decision>(); // by backend, which many sockets may have
    const pace = startPace();
    for (const { keys, values, count } of readPages(this.#options.map('slb_sockets'), pageRows)) {
      for (let index = 0; index < count; index++) {
        if (!isConnectedUdp(values, index * slbSocket.size)) continue;
        const row = decode(slbSocket, values, index * slbSocket.size);
        const decision = decisions.get(row.backend) ?? this.#decide(row);
        decisions.set(row.backend, decision);
        if (decision === 'later') awaited.add(row.service);
        if (decision !== 'destroy') continue;
        const { cookie } = decode(slbSocketKey, keys, index * slbSocketKey.size);
        const family = familyOf(formatAddress(row.backendAddr));
        found.set(cookie, { cookie, netns: row.netns, backend: row.backend, family });
      }
      // After each page: an endpoint that is added during the walk must not be missed.
      for (const service of awaited) this.#awaited.add(service);
      if (stopped()) return [];
      if (pace.due) await pace.rest();
    }
    this.#awaited = awaited;
    return [...found.values()];
  }

  /** Whether the socket is still stale: its program may have closed it, or connected it to another peer. */
  includes({ cookie, backend }: StaleSocket): boolean {
    const sockets = this.#options.map('slb_sockets');
    const value = guarded(sockets, () => sockets.get(encode(slbSocketKey, { cookie, index: 0 })));
    if (value === undefined || !isConnectedUdp(value, 0)) return false;
    const row = decode(slbSocket, value);
    return row.backend === backend && this.#decide(row) === 'destroy';
  }

  #decide(row: SlbSocketRow): Decision {
    return decide({ backend: this.#backendOf(row), service: this.#serviceOf(row) });
  }

  #backendOf({ backend, service, backendAddr, backendPort }: SlbSocketRow): SocketTarget['backend'] {
    if (this.#rowOf('slb_backends', slbBackend, backend) !== undefined) return 'present';
    const address = formatAddress(backendAddr);
    const isIt = (row: BackendRow): boolean => row.address === address && row.port === backendPort;
    return this.#options.backendsOf(service).some(isIt) ? 'replaced' : 'removed';
  }

  #serviceOf({ service }: SlbSocketRow): SocketTarget['service'] {
    const row = this.#rowOf('slb_services', slbService, service);
    if (row === undefined) return 'removed';
    return (row.flags & slbServiceFlags.SVC_ANY_ENDPOINT) === 0 ? 'no endpoints' : 'served';
  }

  /** undefined when the slot is free or has another id. */
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
