// Rows ↔ bytes, by the layouts generated from the C structs. Fields are in host byte order, which is the kernel's;
// those in network byte order have the kinds be16 and be32.
import { endianness } from 'node:os';

const hostIsLittle = endianness() === 'LE';

export type FieldKind = 'u8' | 'u16' | 'u32' | 'u64' | 'be16' | 'be32' | 'bytes';

export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  readonly offset: number;
  readonly size: number; // of the whole field: 16 for an address
}

/** The layout of one C struct. Padding has no field: it is written as zeros and not read. */
export interface Layout<Row> {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly Field[];
  /** Never set: carries the row's type. */
  readonly row?: Row;
}

type Value = number | bigint | Uint8Array;

function mismatch(layout: Layout<unknown>, field: Field, value: unknown): RangeError {
  return new RangeError(
    `${layout.name}.${field.name}: ${String(value)} does not fit ${field.kind}[${String(field.size)}]`,
  );
}

/** Largest values of the integer kinds; larger ones are refused rather than truncated. */
const limit = { u8: 0xff, u16: 0xffff, u32: 0xffffffff, be16: 0xffff, be32: 0xffffffff } as const;

function writeNumber(view: DataView, field: Field, value: number): void {
  if (field.kind === 'u8') view.setUint8(field.offset, value);
  else if (field.kind === 'u16') view.setUint16(field.offset, value, hostIsLittle);
  else if (field.kind === 'be16') view.setUint16(field.offset, value, false);
  else if (field.kind === 'be32') view.setUint32(field.offset, value, false);
  else view.setUint32(field.offset, value, hostIsLittle);
}

function write(layout: Layout<unknown>, bytes: Uint8Array, view: DataView, field: Field, value: Value): void {
  if (field.kind === 'bytes') {
    if (!(value instanceof Uint8Array) || value.length !== field.size) throw mismatch(layout, field, value);
    bytes.set(value, field.offset);
  } else if (field.kind === 'u64') {
    if (typeof value !== 'bigint' || value < 0n || value > 0xffffffffffffffffn)
      throw mismatch(layout, field, value);
    view.setBigUint64(field.offset, value, hostIsLittle);
  } else {
    const fits = Number.isInteger(value) && (value as number) >= 0 && (value as number) <= limit[field.kind];
    if (!fits) throw mismatch(layout, field, value);
    writeNumber(view, field, value as number);
  }
}

/** Writes one row into `bytes` at `offset`. Throws RangeError for a value that does not fit its field. */
export function encodeInto<Row extends object>(
  layout: Layout<Row>,
  row: Row,
  bytes: Uint8Array,
  offset = 0,
): void {
  const target = bytes.subarray(offset, offset + layout.size);
  if (target.length !== layout.size) throw new RangeError(`${layout.name}: no room at ${String(offset)}`);
  target.fill(0);
  const view = new DataView(target.buffer, target.byteOffset, target.length);
  for (const field of layout.fields) {
    write(layout, target, view, field, (row as Record<string, Value>)[field.name] as Value);
  }
}

export function encode<Row extends object>(layout: Layout<Row>, row: Row): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  encodeInto(layout, row, bytes);
  return bytes;
}

function read(bytes: Uint8Array, view: DataView, field: Field, base: number): Value {
  const at = base + field.offset;
  switch (field.kind) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, hostIsLittle);
    case 'u32':
      return view.getUint32(at, hostIsLittle);
    case 'u64':
      return view.getBigUint64(at, hostIsLittle);
    case 'be16':
      return view.getUint16(at, false);
    case 'be32':
      return view.getUint32(at, false);
    case 'bytes':
      return bytes.slice(at, at + field.size);
  }
}

/** Reads the row at `offset` of `bytes`. Byte fields are copied, so that the buffer may be used again. */
export function decode<Row extends object>(layout: Layout<Row>, bytes: Uint8Array, offset = 0): Row {
  if (offset + layout.size > bytes.length) {
    throw new RangeError(
      `${layout.name}: ${String(layout.size)} bytes at ${String(offset)} of ${String(bytes.length)}`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const row: Record<string, Value> = {};
  for (const field of layout.fields) row[field.name] = read(bytes, view, field, offset);
  return row as Row;
}
