// Lists connections of the flow tables and of sockets, in pages.
import type { BpfMap } from '../../native/index.ts';
import { slbFlowKey4, slbFlowKey6, slbSocketKey, type MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { guarded } from './bpfmap.ts';
import type { Clock } from './clock.ts';
import { decodeFlow4, decodeFlow6, type FlowEntry, type RowOfPage } from './flowrows.ts';
import { decodeSocket } from './sockets.ts';

interface Listed {
  readonly name: MapName;
  readonly keySize: number;
  /** undefined for rows that are not listed. */
  readonly decodeRow: (row: RowOfPage) => FlowEntry | undefined;
}

const listed: readonly Listed[] = [
  { name: 'slb_flows4', keySize: slbFlowKey4.size, decodeRow: decodeFlow4 },
  { name: 'slb_half4', keySize: slbFlowKey4.size, decodeRow: decodeFlow4 },
  { name: 'slb_flows6', keySize: slbFlowKey6.size, decodeRow: decodeFlow6 },
  { name: 'slb_half6', keySize: slbFlowKey6.size, decodeRow: decodeFlow6 },
  { name: 'slb_sockets', keySize: slbSocketKey.size, decodeRow: decodeSocket },
];

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
const scanRows = 65_536; // read at most for one page: with a filter, a page may be short and still have a cursor

/**
 * The next `limit` connections that `wanted` accepts. As in any hash table, entries that are added or deleted meanwhile
 * may be missed or listed twice. Throws SLB_E_API for an invalid cursor.
 */
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
    const { decodeRow } = listed[place.table]!;
    const page = readPlace(map, place);
    for (let index = place.skip; index < page.count; index++, scanned++) {
      const flow = decodeRow({ keys: page.keys, values: page.values, index, clock, now });
      if (flow === undefined || !wanted(flow)) continue;
      flows.push(flow);
      if (flows.length === limit) return { flows, cursor: formatCursor({ ...place, skip: index + 1 }) };
    }
    place = nextPlace(place, page.cursor);
  }
  return { flows, cursor: place === undefined ? undefined : formatCursor(place) };
}

interface Place {
  readonly table: number; // index into `listed`
  readonly from: Uint8Array | undefined; // the kernel's cursor of this page
  readonly skip: number; // rows of the page that were listed before
}

const start: Place = { table: 0, from: undefined, skip: 0 };

function readPlace(map: FlowReading['map'], place: Place): ReturnType<BpfMap['readBatch']> {
  const table = map(listed[place.table]!.name);
  return guarded(table, () => table.readBatch(place.from, pageRows));
}

function nextPlace(place: Place, from: Uint8Array | undefined): Place | undefined {
  if (from !== undefined) return { table: place.table, from, skip: 0 };
  return place.table + 1 < listed.length ? { table: place.table + 1, from: undefined, skip: 0 } : undefined;
}

function formatCursor({ table, from, skip }: Place): string {
  return `${table}.${skip}.${Buffer.from(from ?? []).toString('hex')}`;
}

function parseCursor(text: string): Place {
  const match = /^(\d)\.(\d{1,6})\.((?:[0-9a-f]{2}){0,40})$/.exec(text);
  const table = Number(match?.[1]);
  const from = Buffer.from(match?.[3] ?? '', 'hex');
  const size = listed[table]?.keySize; // the size of readBatch()'s cursor
  if (match === null || size === undefined || (from.length !== 0 && from.length !== size)) {
    throw new SluiceError('SLB_E_API', 'cursor: use one that the list of flows has returned');
  }
  return { table, skip: Number(match[2]), from: from.length === 0 ? undefined : new Uint8Array(from) };
}
