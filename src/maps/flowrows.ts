// Decodes rows of the flow tables. A connection has two; the one of the request direction has all that is shown.
import { decode } from '../abi/codec.ts';
import {
  slbFlow,
  slbFlowFlags,
  slbFlowKey4,
  slbFlowKey6,
  slbForward,
  type MapName,
  type SlbFlowRow,
} from '../abi/layout.gen.ts';
import { formatAddress } from '../net/ip.ts';
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

/** A connection, seen from the client. */
export interface FlowEntry {
  /** Whether each packet is translated, or the socket. */
  readonly via: 'packets' | 'socket';
  readonly proto: number;
  readonly client: SocketAddress;
  readonly frontend: SocketAddress;
  readonly backend: SocketAddress;
  /** The source that the backend sees. */
  readonly source: SocketAddress;
  readonly service: number; // id
  readonly backendId: number;
  readonly state: 'half-open' | 'established' | 'half-closed' | 'closed';
  readonly hairpin: boolean;
  readonly masqueraded: boolean;
  readonly ageSec: number;
  readonly idleSec: number | undefined; // undefined: not recorded
}

/** One row of a page of a map, read at `now`. */
export interface RowOfPage {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly index: number;
  readonly clock: Clock;
  readonly now: number;
}

export function decodeFlow4(page: RowOfPage): FlowEntry | undefined {
  const { saddr, daddr, sport, dport, proto } = decode(slbFlowKey4, page.keys, page.index * slbFlowKey4.size);
  const ends = { source: dotted(saddr), target: dotted(daddr), sport, dport, proto };
  return decodeFlow(page, ends, formatAddress4);
}

export function decodeFlow6(page: RowOfPage): FlowEntry | undefined {
  const { saddr, daddr, sport, dport, proto } = decode(slbFlowKey6, page.keys, page.index * slbFlowKey6.size);
  const ends = { source: formatAddress(saddr), target: formatAddress(daddr), sport, dport, proto };
  return decodeFlow(page, ends, formatAddress);
}

interface Tuple {
  readonly source: string;
  readonly target: string;
  readonly sport: number;
  readonly dport: number;
  readonly proto: number;
}

/** undefined for rows of the reply direction, and for dead ones. */
function decodeFlow(
  { values, index, clock, now }: RowOfPage,
  key: Tuple,
  addressOf: (bytes: Uint8Array) => string,
): FlowEntry | undefined {
  const row = decode(slbFlow, values, index * slbFlow.size);
  if ((row.flags & slbFlowFlags.FLOW_REPLY) !== 0 || row.dead !== 0) return undefined;
  return {
    via: 'packets',
    proto: key.proto,
    client: { address: key.source, port: key.sport },
    frontend: { address: key.target, port: key.dport },
    backend: { address: addressOf(row.daddr), port: row.dport },
    source: { address: addressOf(row.saddr), port: row.sport },
    service: row.service,
    backendId: row.backend,
    state: stateOf(row),
    hairpin: row.forward === slbForward.FORWARD_HAIRPIN,
    masqueraded: (row.flags & slbFlowFlags.FLOW_MASQUERADED) !== 0,
    ageSec: secondsBetween(clock, row.created, now),
    idleSec: secondsBetween(clock, row.seen, now),
  };
}

function stateOf(row: SlbFlowRow): FlowEntry['state'] {
  if (row.rst !== 0 || (row.fin !== 0 && row.peerFin !== 0)) return 'closed';
  if (row.fin !== 0 || row.peerFin !== 0) return 'half-closed';
  return (row.flags & slbFlowFlags.FLOW_ASSURED) !== 0 ? 'established' : 'half-open';
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}

/** In flow values an IPv4 address is in the first word. */
function formatAddress4(bytes: Uint8Array): string {
  return bytes.subarray(0, 4).join('.');
}
