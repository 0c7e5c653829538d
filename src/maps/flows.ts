// The flow tables as people ask for them: one entry a connection, a page at a time.
import type { BpfMap } from '../../native/index.ts';
import { decode } from '../abi/codec.ts';
import {
  slbFlow,
  slbFlowFlags,
  slbFlowKey4,
  slbFlowKey6,
  slbWay,
  type MapName,
  type SlbFlowRow,
} from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { formatAddress } from '../model/ip.ts';
import { guarded } from './bpfmap.ts';
import { secondsBetween, type Clock } from './clock.ts';

export const flowTables = [
  'slb_flows4',
  'slb_half4',
  'slb_flows6',
  'slb_half6',
] as const satisfies readonly MapName[];

export interface SocketAddress {
  readonly address: string;
  readonly port: number;
}

/** A connection, from its client's side. */
export interface FlowEntry {
  readonly proto: number;
  readonly client: SocketAddress;
  readonly frontend: SocketAddress;
  readonly backend: SocketAddress;
  /** What the backend sees: the client, or who stands in for it. */
  readonly source: SocketAddress;
  readonly service: number; // id
  readonly backendId: number;
  readonly state: 'half-open' | 'established' | 'half-closed' | 'closed';
  readonly hairpin: boolean;
  readonly masqueraded: boolean;
  readonly ageSec: number;
  readonly idleSec: number;
}

export interface FlowListing {
  readonly flows: readonly FlowEntry[];
  /** For the next page; absent at the end. */
  readonly cursor: string | undefined;
}

export interface FlowReading {
  readonly map: (name: MapName) => BpfMap;
  readonly clock: Clock;
}

const pageRows = 256;
const scanRows = 65_536; // looked at for one page; a filter that matches little ends with a short page and a cursor

/** Entries that change while they are listed may be missed or seen twice, as in any hash table. */
export function listFlows(
  { map, clock }: FlowReading,
  wanted: (flow: FlowEntry) => boolean,
  limit: number,
  cursor?: string,
): FlowListing {
  const flows: FlowEntry[] = [];
  let place: Place | undefined = cursor === undefined ? start : parseCursor(cursor);
  const now = clock.now();
  for (let scanned = 0; place !== undefined && scanned < scanRows;) {
    const page = readPlace(map, place);
    for (let index = place.skip; index < page.count; index++, scanned++) {
      const flow = decodeFlow(place.table, page.keys, page.values, index, clock, now);
      if (flow === undefined || !wanted(flow)) continue;
      flows.push(flow);
      if (flows.length === limit) return { flows, cursor: formatCursor({ ...place, skip: index + 1 }) };
    }
    place = nextPlace(place, page.cursor);
  }
  return { flows, cursor: place === undefined ? undefined : formatCursor(place) };
}

interface Place {
  readonly table: number; // index into flowTables
  readonly from: Uint8Array | undefined; // the kernel's cursor of this page
  readonly skip: number; // rows of the page handed out before
}

const start: Place = { table: 0, from: undefined, skip: 0 };

function readPlace(map: FlowReading['map'], place: Place): ReturnType<BpfMap['readBatch']> {
  const table = map(flowTables[place.table]!);
  return guarded(table, () => table.readBatch(place.from, pageRows));
}

function nextPlace(place: Place, from: Uint8Array | undefined): Place | undefined {
  if (from !== undefined) return { table: place.table, from, skip: 0 };
  return place.table + 1 < flowTables.length
    ? { table: place.table + 1, from: undefined, skip: 0 }
    : undefined;
}

function formatCursor({ table, from, skip }: Place): string {
  return `${table}.${skip}.${Buffer.from(from ?? []).toString('hex')}`;
}

function parseCursor(text: string): Place {
  const match = /^([0-3])\.(\d{1,6})\.((?:[0-9a-f]{2}){0,40})$/.exec(text);
  const table = Number(match?.[1]);
  const from = Buffer.from(match?.[3] ?? '', 'hex');
  const size = table < 2 ? slbFlowKey4.size : slbFlowKey6.size; // what readBatch hands out for these maps
  if (match === null || (from.length !== 0 && from.length !== size)) {
    throw new SluiceError('SLB_E_API', 'this cursor was not handed out by the flow list');
  }
  return { table, skip: Number(match[2]), from: from.length === 0 ? undefined : new Uint8Array(from) };
}

/** Replies are the same connections, seen from the other side. */
function decodeFlow(
  table: number,
  keys: Uint8Array,
  values: Uint8Array,
  index: number,
  clock: Clock,
  now: number,
): FlowEntry | undefined {
  const row = decode(slbFlow, values, index * slbFlow.size);
  if ((row.flags & slbFlowFlags.FLOW_REPLY) !== 0) return undefined;
  const isV4 = table < 2;
  const key = isV4 ? decodeKey4(keys, index) : decodeKey6(keys, index);
  const addressOf = isV4 ? formatAddress4 : formatAddress;
  return {
    proto: key.proto,
    client: { address: key.source, port: key.sport },
    frontend: { address: key.target, port: key.dport },
    backend: { address: addressOf(row.daddr), port: row.dport },
    source: { address: addressOf(row.saddr), port: row.sport },
    service: row.service,
    backendId: row.backend,
    state: stateOf(row),
    hairpin: row.way === slbWay.WAY_BOUNCE,
    masqueraded: (row.flags & slbFlowFlags.FLOW_MASQUERADED) !== 0,
    ageSec: secondsBetween(clock, row.created, now),
    idleSec: secondsBetween(clock, row.seen, now),
  };
}

function stateOf(row: SlbFlowRow): FlowEntry['state'] {
  if (row.rst !== 0 || (row.fin !== 0 && row.peerFin !== 0)) return 'closed';
  if (row.fin !== 0 || row.peerFin !== 0) return 'half-closed';
  return (row.flags & slbFlowFlags.FLOW_ANSWERED) !== 0 ? 'established' : 'half-open';
}

interface Tuple {
  readonly source: string;
  readonly target: string;
  readonly sport: number;
  readonly dport: number;
  readonly proto: number;
}

function decodeKey4(keys: Uint8Array, index: number): Tuple {
  const { saddr, daddr, sport, dport, proto } = decode(slbFlowKey4, keys, index * slbFlowKey4.size);
  return { source: dotted(saddr), target: dotted(daddr), sport, dport, proto };
}

function decodeKey6(keys: Uint8Array, index: number): Tuple {
  const { saddr, daddr, sport, dport, proto } = decode(slbFlowKey6, keys, index * slbFlowKey6.size);
  return { source: formatAddress(saddr), target: formatAddress(daddr), sport, dport, proto };
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** In flow values IPv4 stands in the first word. */
function formatAddress4(bytes: Uint8Array): string {
  return bytes.subarray(0, 4).join('.');
}
