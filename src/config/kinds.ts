// The kinds of options: what an option of each kind has in the schema, and which texts it takes.
import Type from 'typebox';
import { exactDuration } from '../units.ts';

export type OptionKind = 'text' | 'list' | 'choice' | 'switch' | 'count' | 'duration' | 'address' | 'ports';

/** When an address option listens on all addresses: for ":PORT" too, or only for 0.0.0.0 and ::. */
export type Everywhere = 'by default' | 'by name';

/** What the members of a list must be. */
export type Members = 'texts' | 'addresses' | 'ranges' | 'rangesOrWords';

/** The keywords that typebox keeps of an option. */
export interface OptionSchema {
  kind: OptionKind;
  metavar: string;
  description: string;
  default?: unknown;
  unset?: string; // what happens without a value, where there is no default
  minimum?: number; // of a count, or of a duration in seconds
  maximum?: number;
  port?: number; // of an address without one
  everywhere?: Everywhere;
  enum?: readonly string[];
  /** Old values of a choice that work for one version, with a warning, and the values that replace them. */
  renamed?: Readonly<Record<string, string>>;
  members?: Members;
}

export function text(metavar: string, description: string, fallback: string) {
  return Type.String({ kind: 'text', metavar, description, default: fallback, minLength: 1 });
}

export function optionalText(metavar: string, description: string, unset: string) {
  return Type.Optional(Type.String({ kind: 'text', metavar, description, unset, minLength: 1 }));
}

export function list(metavar: string, description: string, unset: string, members: Members = 'texts') {
  return Type.Array(Type.String({ minLength: 1 }), {
    kind: 'list',
    metavar,
    description,
    unset,
    members,
    default: [],
  });
}

export function choice<const Names extends string[]>(
  names: readonly [...Names],
  description: string,
  fallback: Names[number],
  renamed: Readonly<Record<string, Names[number]>> = {},
) {
  return Type.Enum<Names>(names, {
    kind: 'choice',
    metavar: names.join('|'),
    description,
    default: fallback,
    renamed,
  });
}

export function optionalChoice<const Names extends string[]>(
  names: readonly [...Names],
  description: string,
  unset: string,
) {
  return Type.Optional(
    Type.Enum<Names>(names, { kind: 'choice', metavar: names.join('|'), description, unset }),
  );
}

export function toggle(description: string, fallback: boolean) {
  return Type.Boolean({ kind: 'switch', metavar: 'true|false', description, default: fallback });
}

export function ports(description: string, fallback: string) {
  return Type.String({ kind: 'ports', metavar: 'MIN-MAX', description, default: fallback });
}

export function count(description: string, fallback: number, maximum: number) {
  return Type.Integer({ kind: 'count', metavar: 'N', description, default: fallback, minimum: 16, maximum });
}

/** In seconds. */
export function duration(description: string, fallback: number) {
  return Type.Integer({
    kind: 'duration',
    metavar: 'TIME',
    description,
    default: fallback,
    minimum: 1,
    maximum: 86_400 * 7,
  });
}

export function address(
  description: string,
  host: string,
  port: number,
  everywhere: Everywhere = 'by default',
) {
  return Type.String({
    kind: 'address',
    metavar: 'ADDRESS',
    description,
    port,
    everywhere,
    default: `${host}:${String(port)}`,
  });
}

const allowedLists: Readonly<Record<Members, string>> = {
  texts: 'a comma-separated list without empty members',
  addresses: 'IPv4 or IPv6 addresses, separated by commas',
  ranges: 'ranges such as 10.244.0.0/16,fd00:244::/48, one a family',
  rangesOrWords:
    'a list of ranges such as 192.0.2.0/24,2001:db8::/32 and the words primary, localhost and all',
};

/** The values that an option takes; completes "use …". */
export function allowedOf(schema: OptionSchema): string {
  switch (schema.kind) {
    case 'choice':
      return `one of ${(schema.enum ?? []).join(', ')}`;
    case 'count':
      return `a whole number from ${String(schema.minimum)} to ${String(schema.maximum)}`;
    case 'duration':
      return `a time such as 90s, 15m or 24h, from ${exactDuration(schema.minimum ?? 1)} to ${exactDuration(schema.maximum ?? 1)}`;
    case 'address':
      return allowedAddress(schema);
    case 'switch':
      return 'true or false';
    case 'ports':
      return 'two ports such as 1024-65535, the lower one first';
    case 'list':
      return allowedLists[schema.members ?? 'texts'];
    case 'text':
      return 'a text that is not empty';
  }
}

function allowedAddress({ port = 0, everywhere }: OptionSchema): string {
  const all =
    everywhere === 'by name' ? `, 0.0.0.0:${String(port)} or [::]:${String(port)} for every address` : '';
  return `ADDRESS:PORT such as 127.0.0.1:${String(port)} or [::1]:${String(port)}${all}, or nothing to switch it off`;
}

/** The value that replaces an old one; undefined when `raw` is no old value. */
export function replacementOf({ renamed = {} }: OptionSchema, raw: string): string | undefined {
  return Object.hasOwn(renamed, raw) ? renamed[raw] : undefined;
}
