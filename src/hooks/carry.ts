// Copies the rows of a map to the map that replaces it, which has another size or layout.
import { native, type BpfMap, type NativeError } from '../../native/index.ts';
import { messageOf } from '../errors.ts';
import { slbFlow, slbFlowFlags, type MapName } from '../abi/layout.gen.ts';
import { converters, type Convert } from './convert.ts';

/**
 * Who writes the rows, which decides when they can be copied. `agent`: only this process, so at any time. `packets`:
 * the programs at devices, so while the gate drops packets. `counters`: programs add to them, so what was added since
 * the copy is added later. `sockets`: the programs at cgroups, which are never stopped. `nothing`: not copied, since
 * rows last for one packet or for the fragments of one.
 */
export const writers = {
  slb_affinity: 'packets',
  slb_backends: 'agent',
  slb_be_stats: 'counters',
  slb_bucket: 'nothing',
  slb_devices: 'agent',
  slb_counters: 'packets',
  slb_exempt: 'agent',
  slb_flows4: 'packets',
  slb_flows6: 'packets',
  slb_fragments: 'nothing',
  slb_frontends: 'agent',
  slb_half4: 'packets',
  slb_half6: 'packets',
  slb_maglev: 'agent',
  slb_moves: 'nothing',
  slb_queued: 'nothing',
  slb_queue_row: 'nothing',
  slb_queue_key: 'nothing',
  slb_ranges: 'agent',
  slb_icmp_quote: 'nothing',
  slb_seed: 'agent',
  slb_services: 'agent',
  slb_sets: 'agent',
  slb_slots: 'agent',
  slb_sockets: 'sockets',
  slb_oversize: 'nothing',
  slb_svc_stats: 'counters',
  slb_verdicts: 'packets',
} as const satisfies Record<MapName, 'agent' | 'packets' | 'counters' | 'sockets' | 'nothing'>;

export type Writer = (typeof writers)[MapName];

export interface Carried {
  readonly rows: number;
  /** Rows that were left behind, and why. */
  readonly left: number;
  readonly reason: string; // "" when everything was carried
}

interface Page {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

const pageRows = 4096;
const types = { hash: 1, array: 2, percpuArray: 6, lruHash: 9 } as const;

/** An LRU hash may replace a hash, and the other way round: both are accessed by key. */
const kindOf = ({ info: { type } }: BpfMap): number => (type === types.lruHash ? types.hash : type);
export const isArray = ({ info: { type } }: BpfMap): boolean =>
  type === types.array || type === types.percpuArray;

/** Bytes from one value to the next in a batch of the kernel. */
const strideOf =
  ({ info: { type } }: BpfMap) =>
  (bytes: number): number =>
    type === types.percpuArray ? Math.ceil(bytes / 8) * 8 : bytes;

/** Copies all rows, or those whose key is `wanted`. */
export function carryRows(from: BpfMap, to: BpfMap, wanted?: (key: Uint8Array) => boolean): Carried {
  const convert = kindOf(from) === kindOf(to) ? converters(from, to, strideOf(to)) : undefined;
  if (convert === undefined) return { rows: 0, left: 0, reason: 'their layout is not known' };
  const amend = confirms(from, to);
  const cpus = to.info.type === types.percpuArray ? native().possibleCpus() : 1;
  let rows = 0;
  let left = 0;
  let first = 0;
  let reason = '';
  for (const whole of readPages(from)) {
    const page = wanted === undefined ? whole : choose(whole, wanted);
    const room = isArray(to) ? Math.max(0, to.info.maxEntries - first) : page.count;
    const { inside, beyond } = split(page, room);
    first += page.count;
    // Most rows of an array were never written.
    const result =
      isArray(to) && isBlank(inside.values)
        ? all(inside)
        : write(to, { ...convert, value: (rows, count) => amend(convert.value(rows, count)) }, inside, cpus);
    rows += result.rows;
    left += inside.count - result.rows + (isBlank(beyond.values) ? 0 : beyond.count);
    reason = result.reason === '' ? reason : result.reason;
  }
  return { rows, left, reason: left > 0 && reason === '' ? noRoom : reason };
}

/** Older versions had no flag ASSURED: all flows in their maps of established flows have it now. */
function confirms(from: BpfMap, to: BpfMap): (rows: Uint8Array) => Uint8Array {
  const knows = from.layout().value?.fields.some(({ name }) => name === 'ack') ?? true;
  if (knows || !to.info.name.startsWith('slb_flows')) return (rows) => rows;
  const flags = slbFlow.fields.find(({ name }) => name === 'flags')?.offset ?? 0;
  return (rows) => {
    for (let at = flags; at < rows.length; at += slbFlow.size)
      rows[at] = (rows[at] ?? 0) | slbFlowFlags.FLOW_ASSURED;
    return rows;
  };
}

const noRoom = 'the new map is full';

interface Written {
  readonly rows: number;
  readonly reason: string;
}

const all = ({ count }: Page): Written => ({ rows: count, reason: '' });

function split(page: Page, room: number): { readonly inside: Page; readonly beyond: Page } {
  const count = Math.min(page.count, room);
  const part = (from: number, to: number): Page => {
    const cut = (bytes: Uint8Array): Uint8Array => {
      const size = bytes.length / Math.max(page.count, 1);
      return bytes.subarray(from * size, to * size);
    };
    return { keys: cut(page.keys), values: cut(page.values), count: to - from };
  };
  return { inside: part(0, count), beyond: part(count, page.count) };
}

export function isBlank(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).equals(Buffer.alloc(bytes.length));
}

interface Converts {
  readonly key: Convert;
  readonly value: Convert;
}

function write(to: BpfMap, convert: Converts, { keys, values, count }: Page, cpus: number): Written {
  if (count === 0) return { rows: 0, reason: '' };
  try {
    return {
      rows: to.putBatch(convert.key(keys, count), convert.value(values, count * cpus), count),
      reason: '',
    };
  } catch (error) {
    const { done = 0, code } = error as Partial<NativeError>;
    return { rows: done, reason: code === 'E2BIG' ? noRoom : messageOf(error) };
  }
}

function choose({ keys, values, count }: Page, wanted: (key: Uint8Array) => boolean): Page {
  const rows = Array.from({ length: count }, (_, row) => row);
  const part = (bytes: Uint8Array, row: number): Uint8Array => {
    const size = bytes.length / count;
    return bytes.subarray(row * size, (row + 1) * size);
  };
  const chosen = rows.filter((row) => wanted(part(keys, row)));
  const gather = (bytes: Uint8Array): Uint8Array => Buffer.concat(chosen.map((row) => part(bytes, row)));
  return { keys: gather(keys), values: gather(values), count: chosen.length };
}

/** All rows, a page at a time. */
export function* readPages(map: BpfMap): Generator<Page> {
  let cursor: Uint8Array | undefined;
  do {
    const page = map.readBatch(cursor, pageRows);
    yield page;
    cursor = page.cursor;
  } while (cursor !== undefined);
}
