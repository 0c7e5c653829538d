// The kernel's service tables: applies operations phase by phase, and reads back what is there.
import type { BpfMap } from '../../native/index.ts';
import { slbBackend, slbLimits, slbService, type MapName } from '../abi/layout.gen.ts';
import { SluiceError } from '../errors.ts';
import { slotOf } from '../table/ids.ts';
import type { Capacity } from '../table/ledger.ts';
import { phases, type Phase } from '../table/order.ts';
import type { BackendRow, FrontendRow, KernelRows, Ops, ServiceRow, SetRow } from '../table/rows.ts';
import { clearRows, deleteRows, guarded, putRows, readPages, writeWord } from './bpfmap.ts';
import {
  decodeBackend,
  decodeFrontend,
  decodeService,
  decodeSet,
  encodeBackend,
  encodeFrontend,
  encodeFrontendKey,
  encodeService,
  encodeSet,
  type Encode,
} from './rows.ts';

export type OpenMaps = Readonly<Record<string, BpfMap>>;

export interface Tables {
  readonly capacity: Capacity;
  map(name: MapName): BpfMap;
  /** All phases in order; what was written before a failure stays, and applying again is harmless. */
  apply(ops: Ops): void;
  read(): KernelRows;
  /** The ids in slb_slots. */
  slots(): Uint32Array;
  /** The positions in slb_maglev from `first` on are these. */
  hasPositions(first: number, positions: Uint16Array): boolean;
}

const encodeSlot: Encode<{ readonly id: number }> = ({ id }, bytes, offset) =>
  writeWord(bytes, offset, slotOf(id));
const encodeSetIndex: Encode<SetRow> = ({ index }, bytes, offset) => writeWord(bytes, offset, index);

export function openTables(maps: OpenMaps): Tables {
  const map = (name: MapName): BpfMap => {
    const found = maps[name];
    if (found === undefined) throw new SluiceError('SLB_E_MAP', `${name} was not opened`);
    return found;
  };
  const rowsOf = (name: MapName): number => map(name).info.maxEntries;
  const maglev = new Uint16Array(guarded(map('slb_maglev'), () => map('slb_maglev').mmap()));
  const appliers = createAppliers(map, maglev);
  return {
    capacity: {
      frontends: rowsOf('slb_frontends'),
      services: rowsOf('slb_services'),
      backends: rowsOf('slb_backends'),
      sets: rowsOf('slb_sets'),
      slots: rowsOf('slb_slots'),
      maglev: rowsOf('slb_maglev') * slbLimits.MAGLEV_PER_ROW,
    },
    map,
    apply: (ops) => {
      for (const phase of phases) appliers[phase](ops);
    },
    read: () => readKernel(map),
    slots: () => readSlots(map('slb_slots')),
    hasPositions: (first, positions) => positions.every((position, i) => maglev[first + i] === position),
  };
}

function createAppliers(
  map: (name: MapName) => BpfMap,
  maglev: Uint16Array,
): Readonly<Record<Phase, (ops: Ops) => void>> {
  const putServices = (rows: readonly ServiceRow[]): void =>
    putRows(map('slb_services'), rows, encodeSlot, encodeService);
  const putBackends = (rows: readonly BackendRow[]): void =>
    putRows(map('slb_backends'), rows, encodeSlot, encodeBackend);
  return {
    dropFrontends: (ops) => deleteRows(map('slb_frontends'), ops.dropFrontends, encodeFrontendKey),
    clearServiceStats: (ops) => clearRows(map('slb_svc_stats'), ops.clearServiceStats),
    clearBackendStats: (ops) => clearRows(map('slb_be_stats'), ops.clearBackendStats),
    backends: (ops) => putBackends(ops.backends),
    slots: (ops) => putSlots(map('slb_slots'), ops),
    tables: (ops) => {
      for (const { first, positions } of ops.tables) maglev.set(positions, first);
    },
    sets: (ops) => putRows(map('slb_sets'), ops.sets, encodeSetIndex, encodeSet),
    services: (ops) => putServices(ops.services),
    frontends: (ops) => putRows(map('slb_frontends'), ops.frontends, encodeFrontendKey, encodeFrontend),
    freeServices: (ops) => putServices(ops.freeServices),
    freeBackends: (ops) => putBackends(ops.freeBackends),
  };
}

/** Lists of many services go out in one batch. */
function putSlots(map: BpfMap, { slots }: Ops): void {
  const rows = slots.flatMap(({ first, ids }) => ids.map((id, index) => ({ row: first + index, id })));
  putRows(
    map,
    rows,
    ({ row }, bytes, offset) => writeWord(bytes, offset, row),
    ({ id }, bytes, offset) => writeWord(bytes, offset, id),
  );
}

function readKernel(map: (name: MapName) => BpfMap): KernelRows {
  return {
    frontends: readFrontends(map('slb_frontends')),
    services: readArray(map('slb_services'), idOffset(slbService), decodeService),
    sets: readSets(map('slb_sets')),
    slots: readSlots(map('slb_slots')),
    backends: readArray(map('slb_backends'), idOffset(slbBackend), decodeBackend),
  };
}

export function readFrontends(map: BpfMap): FrontendRow[] {
  const rows: FrontendRow[] = [];
  for (const { keys, values, count } of readPages(map))
    for (let i = 0; i < count; i++) rows.push(decodeFrontend(keys, values, i));
  return rows;
}

/** Only rows whose word at `offset` is set: most of an array was never used, and decoding is what costs. */
function readArray<Row>(
  map: BpfMap,
  offset: number,
  decodeRow: (values: Uint8Array, index: number) => Row,
): Row[] {
  const rows: Row[] = [];
  const { valueSize } = map.info;
  for (const { values, count } of readPages(map)) {
    const view = new DataView(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < count; i++)
      if (view.getUint32(i * valueSize + offset) !== 0) rows.push(decodeRow(values, i));
  }
  return rows;
}

function readSets(map: BpfMap): SetRow[] {
  const rows: SetRow[] = [];
  let row = 0;
  for (const { values, count } of readPages(map)) {
    for (let i = 0; i < count; i++, row++) {
      const set = decodeSet(values, row, i);
      if (set.count > 0) rows.push(set);
    }
  }
  return rows;
}

function readSlots(map: BpfMap): Uint32Array {
  const slots = new Uint32Array(map.info.maxEntries);
  let row = 0;
  for (const { values, count } of readPages(map)) {
    slots.set(new Uint32Array(values.slice().buffer), row);
    row += count;
  }
  return slots;
}

function idOffset(layout: {
  readonly fields: readonly { readonly name: string; readonly offset: number }[];
}): number {
  return layout.fields.find((field) => field.name === 'id')?.offset ?? 0;
}
