// The part of BTF that describes our maps: read from `bpftool -j btf dump file`.
import { execFileSync } from 'node:child_process';
import type { Field, FieldKind } from '../src/abi/codec.ts';

interface Member {
  readonly name: string;
  readonly type_id: number;
  readonly bits_offset: number;
}

interface BtfType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly type_id?: number;
  readonly nr_elems?: number;
  readonly members?: readonly Member[];
  readonly values?: readonly { readonly name: string; readonly val: number }[];
  readonly vars?: readonly { readonly type_id: number }[];
}

export interface Struct {
  readonly name: string;
  readonly size: number;
  readonly fields: readonly (Field & { readonly cName: string })[];
}

export interface MapDeclaration {
  readonly name: string;
  readonly type: number;
  readonly key: string; // C type name
  readonly value: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

export interface Btf {
  readonly structs: readonly Struct[];
  readonly enums: readonly { readonly name: string; readonly values: ReadonlyMap<string, number> }[];
  readonly maps: readonly MapDeclaration[];
}

const scalars: Readonly<Record<string, FieldKind>> = {
  __u8: 'u8',
  __u16: 'u16',
  __u32: 'u32',
  __u64: 'u64',
  __be16: 'be16',
  __be32: 'be32',
};

export const camel = (text: string): string =>
  text.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase());

/** Types by id, with the three questions that are asked of them. */
class Types {
  readonly #byId: ReadonlyMap<number, BtfType>;

  constructor(types: readonly BtfType[]) {
    this.#byId = new Map(types.map((type) => [type.id, type]));
  }

  all(): BtfType[] {
    return [...this.#byId.values()];
  }

  get(id: number | undefined): BtfType {
    const type = this.#byId.get(id ?? -1);
    if (type === undefined) throw new Error(`BTF has no type ${String(id)}`);
    return type;
  }

  size(type: BtfType): number {
    if (type.kind === 'TYPEDEF') return this.size(this.get(type.type_id));
    if (type.kind === 'ARRAY') return (type.nr_elems ?? 0) * this.size(this.get(type.type_id));
    return type.size ?? 0;
  }

  cName(type: BtfType): string {
    return type.kind === 'ARRAY'
      ? `${this.cName(this.get(type.type_id))}[${String(type.nr_elems)}]`
      : type.name;
  }

  field(member: Member): Field & { cName: string } {
    const type = this.get(member.type_id);
    const kind = type.kind === 'ARRAY' ? 'bytes' : scalars[type.name];
    if (kind === undefined) throw new Error(`${member.name}: type ${type.name} has no codec`);
    const size = this.size(type);
    return { name: camel(member.name), cName: member.name, kind, offset: member.bits_offset / 8, size };
  }
}

function structOf(types: Types, type: BtfType): Struct {
  const members = (type.members ?? []).filter((member) => !member.name.startsWith('pad'));
  return { name: type.name, size: type.size ?? 0, fields: members.map((member) => types.field(member)) };
}

/** A map is a variable whose struct members are pointers: to an array for a number, to the type for key and value. */
function mapOf(types: Types, variable: BtfType): MapDeclaration {
  const declared = new Map(
    (types.get(variable.type_id).members ?? []).map((member) => [member.name, member]),
  );
  const pointee = (name: string): BtfType | undefined => {
    const member = declared.get(name);
    return member && types.get(types.get(member.type_id).type_id);
  };
  const number = (name: string): number => pointee(name)?.nr_elems ?? 0;
  const key = pointee('key');
  const value = pointee('value');
  if (key === undefined || value === undefined) throw new Error(`${variable.name}: no key or value`);
  return {
    name: variable.name,
    type: number('type'),
    key: types.cName(key),
    value: types.cName(value),
    keySize: types.size(key),
    valueSize: types.size(value),
    maxEntries: number('max_entries'),
    flags: number('map_flags'),
  };
}

export function readBtf(object: string): Btf {
  const json = execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', object], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  const types = new Types((JSON.parse(json) as { types: BtfType[] }).types);
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  const ours = types.all().filter((type) => type.name.startsWith('slb_'));
  const section = types.all().find((type) => type.kind === 'DATASEC' && type.name === '.maps');
  return {
    structs: ours
      .filter((type) => type.kind === 'STRUCT')
      .map((type) => structOf(types, type))
      .sort(byName),
    enums: ours
      .filter((type) => type.kind === 'ENUM')
      .map((type) => ({ name: type.name, values: new Map((type.values ?? []).map((v) => [v.name, v.val])) }))
      .sort(byName),
    maps: (section?.vars ?? []).map((entry) => mapOf(types, types.get(entry.type_id))).sort(byName),
  };
}
