// The maps that the agent writes: applies operations phase by phase, and reads rows back.
import type { BpfMap } from '../../native/index.ts';
import { slbBackend, slbLimits, slbService, slbSet, type MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { slotOf } from '../table/ids.ts';
import type { Capacity } from '../table/state.ts';
import { phases, type Phase } from '../table/order.ts';
import type {
  BackendRow,
  DeviceRow,
  FrontendRow,
  KernelRows,
  Ops,
  RangeRow,
  ServiceRow,
  SetRow,
} from '../table/rows.ts';
import {
  clearRows,
  deleteRows,
  guarded,
  putRows,
  readPages,
  writeWord,
  type Page,
  type RefusedRow,
} from './bpfmap.ts';
import { startPace } from './pace.ts';
import {
  decodeBackend,
  decodeDevice,
  decodeFrontend,
  decodeRange,
  decodeService,
  decodeSet,
  encodeBackend,
  encodeDevice,
  encodeFrontend,
  encodeFrontendKey,
  encodeRange,
  encodeRangeKey,
  encodeService,
  encodeSet,
  type Encode,
} from './rows.ts';

export type OpenMaps = Readonly<Record<string, BpfMap>>;

/** A refused row that names its service, or of a device. */
export type Refusal = RefusedRow<BackendRow | ServiceRow | FrontendRow | RangeRow | DeviceRow>;

export interface Tables {
  /** Current sizes. */
  readonly capacity: Capacity;
  map(name: MapName): BpfMap;
  /**
   * Applies all phases in order. Returns the rows that can never be written; all others are. Throws SLB_E_MAP for other
   * failures, with earlier phases written; it may be called again with the same operations.
   */
  apply(ops: Ops): readonly Refusal[];
  /** All rows, read in slices. */
  read(): Promise<KernelRows>;
  /** The ids in slb_slots. */
  slots(): Promise<Uint32Array>;
  /** Whether these are the positions in slb_maglev from `first` on. */
  hasPositions(first: number, positions: Uint16Array): boolean;
}

const shortPage = 1024; // decoding a whole batch of backends would take 20 ms

const encodeSlot: Encode<{ readonly id: number }> = ({ id }, bytes, offset) =>
  writeWord(bytes, offset, slotOf(id));
const encodeSetIndex: Encode<SetRow> = ({ index }, bytes, offset) => writeWord(bytes, offset, index);
const encodeIfindex: Encode<DeviceRow> = ({ ifindex }, bytes, offset) => writeWord(bytes, offset, ifindex);

export function openTables(maps: OpenMaps): Tables {
  const map = (name: MapName): BpfMap => {
    const found = maps[name];
    if (found === undefined) throw new SluiceError('SLB_E_MAP', `${name} was not opened`);
    return found;
  };
  const rowsOf = (name: MapName): number => map(name).info.maxEntries;
  capacityOf(rowsOf); // throws when a map is missing
  const maglev = mapPositions(map);
  const appliers = createAppliers(map, maglev);
  return {
    get capacity() {
      return capacityOf(rowsOf);
    },
    map,
    apply: (ops) => phases.flatMap((phase) => appliers[phase](ops) ?? []),
    read: () => readKernel(map),
    slots: () => readSlots(map('slb_slots')),
    hasPositions: (first, positions) => {
      const present = maglev();
      return positions.every((position, i) => present[first + i] === position);
    },
  };
}

export function capacityOf(rowsOf: (name: MapName) => number): Capacity {
  return {
    frontends: rowsOf('slb_frontends'),
    services: rowsOf('slb_services'),
    backends: rowsOf('slb_backends'),
    sets: rowsOf('slb_sets'),
    slots: rowsOf('slb_slots'),
    maglev: rowsOf('slb_maglev') * slbLimits.MAGLEV_PER_ROW,
    ranges: rowsOf('slb_ranges'),
    devices: rowsOf('slb_devices'),
  };
}

/** slb_maglev mapped into memory; mapped again after a larger map has replaced it. */
function mapPositions(map: (name: MapName) => BpfMap): () => Uint16Array {
  let mapped: BpfMap | undefined;
  let positions = new Uint16Array();
  const current = (): Uint16Array => {
    const now = map('slb_maglev');
    if (now !== mapped) positions = new Uint16Array(guarded(now, () => now.mmap()));
    mapped = now;
    return positions;
  };
  current();
  return current;
}

function createAppliers(
  map: (name: MapName) => BpfMap,
  maglev: () => Uint16Array,
): Readonly<Record<Phase, (ops: Ops) => readonly Refusal[] | undefined>> {
  const putServices = (rows: readonly ServiceRow[]): readonly Refusal[] =>
    putRows(map('slb_services'), rows, encodeSlot, encodeService);
  const putFrontends = (rows: readonly FrontendRow[]): readonly Refusal[] =>
    putRows(map('slb_frontends'), rows, encodeFrontendKey, encodeFrontend);
  const putBackends = (rows: readonly BackendRow[]): readonly Refusal[] =>
    putRows(map('slb_backends'), rows, encodeSlot, encodeBackend);
  return {
    dropFrontends: (ops) => deleteRows(map('slb_frontends'), ops.dropFrontends, encodeFrontendKey),
    devices: (ops) => putRows(map('slb_devices'), ops.devices, encodeIfindex, encodeDevice),
    clearServiceStats: (ops) => clearRows(map('slb_svc_stats'), ops.clearServiceStats),
    clearBackendStats: (ops) => clearRows(map('slb_be_stats'), ops.clearBackendStats),
    backends: (ops) => putBackends(ops.backends),
    slots: (ops) => putSlots(map('slb_slots'), ops),
    tables: (ops) => {
      for (const { first, positions } of ops.tables) maglev().set(positions, first);
      return undefined;
    },
    sets: (ops) => whole(putRows(map('slb_sets'), ops.sets, encodeSetIndex, encodeSet)),
    ranges: (ops) => putRows(map('slb_ranges'), ops.ranges, encodeRangeKey, encodeRange),
    services: (ops) => putServices(ops.services),
    moveFrontends: (ops) => putFrontends(ops.moveFrontends),
    leftServices: (ops) => putServices(ops.leftServices),
    frontends: (ops) => putFrontends(ops.frontends),
    dropRanges: (ops) => deleteRows(map('slb_ranges'), ops.dropRanges, encodeRangeKey),
    dropDevices: (ops) => deleteRows(map('slb_devices'), ops.dropDevices, encodeIfindex),
    freeServices: (ops) => putServices(ops.freeServices),
    freeBackends: (ops) => putBackends(ops.freeBackends),
  };
}

/** Throws for a refused row whose numbers the agent has chosen: the state and the maps do not agree. */
function whole(refused: readonly RefusedRow<unknown>[]): undefined {
  const [first] = refused;
  if (first !== undefined) throw new SluiceError('SLB_E_MAP', `${first.map}: ${first.reason}`);
}

/** Slot lists of many service ports are written in one batch. */
function putSlots(map: BpfMap, { slots }: Ops): undefined {
  const rows = slots.flatMap(({ first, ids }) => ids.map((id, index) => ({ row: first + index, id })));
  const refused = putRows(
    map,
    rows,
    ({ row }, bytes, offset) => writeWord(bytes, offset, row),
    ({ id }, bytes, offset) => writeWord(bytes, offset, id),
  );
  return whole(refused);
}

async function readKernel(map: (name: MapName) => BpfMap): Promise<KernelRows> {
  return {
    frontends: await readFrontends(map('slb_frontends')),
    services: await readArray(map('slb_services'), offsetOf(slbService, 'id'), decodeService),
    sets: await readArray(map('slb_sets'), offsetOf(slbSet, 'count'), decodeSet),
    slots: await readSlots(map('slb_slots')),
    backends: await readArray(map('slb_backends'), offsetOf(slbBackend, 'id'), decodeBackend),
    ranges: await readRanges(map('slb_ranges')),
    devices: await readDevices(map('slb_devices')),
  };
}

type DecodeEntry<Row> = (keys: Uint8Array, values: Uint8Array, index: number) => Row;

async function readEntries<Row>(map: BpfMap, decodeEntry: DecodeEntry<Row>): Promise<Row[]> {
  const rows: Row[] = [];
  await eachPage(map, ({ keys, values, count }) => {
    for (let i = 0; i < count; i++) rows.push(decodeEntry(keys, values, i));
  });
  return rows;
}

export const readFrontends = (map: BpfMap): Promise<FrontendRow[]> => readEntries(map, decodeFrontend);

export const readDevices = (map: BpfMap): Promise<DeviceRow[]> => readEntries(map, decodeDevice);

export const readRanges = (map: BpfMap): Promise<RangeRow[]> =>
  readEntries(map, (keys, _, index) => decodeRange(keys, index));

/** Rows whose word at `offset` is not 0: most of an array was never used, and decoding costs most. */
async function readArray<Row>(
  map: BpfMap,
  offset: number,
  decodeRow: (values: Uint8Array, index: number, row: number) => Row,
): Promise<Row[]> {
  const rows: Row[] = [];
  const { valueSize } = map.info;
  await eachPage(map, ({ values, count }, first) => {
    const view = new DataView(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < count; i++)
      if (view.getUint32(i * valueSize + offset) !== 0) rows.push(decodeRow(values, i, first + i));
  });
  return rows;
}

async function readSlots(map: BpfMap): Promise<Uint32Array> {
  const slots = new Uint32Array(map.info.maxEntries);
  await eachPage(map, ({ values }, first) => slots.set(new Uint32Array(values.slice().buffer), first));
  return slots;
}

/** `first`: the number of rows before the page, which in an array map is the index of its first row. */
async function eachPage(map: BpfMap, visit: (page: Page, first: number) => void): Promise<void> {
  const pace = startPace();
  let first = 0;
  for (const page of readPages(map, shortPage)) {
    visit(page, first);
    first += page.count;
    if (pace.due) await pace.rest();
  }
}

type Offsets = {
  readonly fields: readonly {
    readonly name: string;
    readonly offset: number;
  }[];
};

function offsetOf(layout: Offsets, name: string): number {
  return layout.fields.find((field) => field.name === name)?.offset ?? 0;
}
