// Converts rows of a map to another layout. Fields are matched by name, from the BTF of both maps; renamed.ts has the
// old names of fields that were renamed. A new field is 0, which must mean "not known"; a field whose meaning changes
// must get another name.
import type { BpfMap, MapLayout, TypeLayout } from '../../native/index.ts';
import { fieldName } from './renamed.ts';

/** Converts `count` rows. */
export type Convert = (rows: Uint8Array, count: number) => Uint8Array;

interface Span {
  readonly from: number;
  readonly to: number;
  readonly size: number;
}

export function sameLayout(one: MapLayout, other: MapLayout): boolean {
  return sameType(one.key, other.key) && sameType(one.value, other.value);
}

/** Without BTF only the size is known, which the caller compares. */
function sameType(one: TypeLayout | undefined, other: TypeLayout | undefined): boolean {
  if (one === undefined || other === undefined) return true;
  return one.size === other.size && describe(one) === describe(other);
}

function describe({ fields }: TypeLayout): string {
  return fields
    .map(({ name, offset, size }) => `${fieldName(name)} ${String(offset)} ${String(size)}`)
    .join();
}

const isPadding = (name: string): boolean => name.startsWith('pad');

/** undefined when a field of the key is missing, or all of the value. `stride`: bytes from one value to the next. */
export function converters(
  from: BpfMap,
  to: BpfMap,
  stride: (bytes: number) => number,
): { readonly key: Convert; readonly value: Convert } | undefined {
  const [old, fresh] = [from.layout(), to.layout()];
  const keys = spansBetween(old.key, fresh.key, from.info.keySize, to.info.keySize);
  const values = spansBetween(old.value, fresh.value, from.info.valueSize, to.info.valueSize);
  if (keys === undefined || values === undefined || !isWhole(keys, fresh.key)) return undefined;
  return {
    key: packer(keys, from.info.keySize, to.info.keySize),
    value: packer(values, stride(from.info.valueSize), stride(to.info.valueSize)),
  };
}

function spansBetween(
  from: TypeLayout | undefined,
  to: TypeLayout | undefined,
  fromSize: number,
  toSize: number,
): readonly Span[] | undefined {
  // The same layout: copied as a whole.
  if (from === undefined || to === undefined || sameType(from, to))
    return fromSize === toSize ? [{ from: 0, to: 0, size: toSize }] : undefined;
  const byName = new Map(from.fields.map((field) => [fieldName(field.name), field]));
  const spans = to.fields.flatMap(({ name, offset, size }) => {
    const old = byName.get(fieldName(name));
    if (isPadding(name) || old?.size !== size) return [];
    return [{ from: old.offset, to: offset, size }];
  });
  return spans.length === 0 ? undefined : joined(spans);
}

function isWhole(spans: readonly Span[], key: TypeLayout | undefined): boolean {
  if (key === undefined) return true;
  const wanted = key.fields.filter(({ name }) => !isPadding(name));
  const sum = (parts: readonly { size: number }[]): number =>
    parts.reduce((total, { size }) => total + size, 0);
  return sum(spans) >= sum(wanted);
}

/** Adjacent fields that stay adjacent are copied together. */
function joined(spans: readonly Span[]): readonly Span[] {
  const found: Span[] = [];
  for (const span of spans) {
    const last = found.at(-1);
    if (last !== undefined && last.from + last.size === span.from && last.to + last.size === span.to)
      found[found.length - 1] = { ...last, size: last.size + span.size };
    else found.push(span);
  }
  return found;
}

function packer(spans: readonly Span[], fromStride: number, toStride: number): Convert {
  const isWhole = fromStride === toStride && spans.length === 1 && spans[0]?.size === fromStride;
  if (isWhole) return (rows) => rows; // without a copy: packets may be dropped meanwhile
  return (rows, count) => {
    const packed = new Uint8Array(count * toStride);
    for (let i = 0; i < count; i++) {
      const base = i * fromStride;
      for (const { from, to, size } of spans)
        packed.set(rows.subarray(base + from, base + from + size), i * toStride + to);
    }
    return packed;
  };
}
