// Text → value of an option, checked by its kind.
import { isIP } from 'node:net';
import { canonicalCidr, cidrFamily } from '../net/cidr.ts';
import { parseHostPort, parsePortRange } from '../net/hostport.ts';
import { canonicalAddress } from '../net/ip.ts';
import { nodePortWords } from '../host/nodeports.ts';
import { parseBool, parseDuration } from '../units.ts';
import { replacementOf, type Members, type OptionSchema } from './kinds.ts';
import { schemaOf, type ConfigKey } from './schema.ts';

/** Text → value of the option; undefined when it is not allowed. Lists come as members or as comma-separated text. */
export function valueOf(key: ConfigKey, raw: string | readonly string[]): unknown {
  const schema = schemaOf(key);
  if (schema.kind === 'list') return listOf(raw, schema.members ?? 'texts');
  if (typeof raw !== 'string') return undefined;
  switch (schema.kind) {
    case 'text':
      return raw === '' ? undefined : raw;
    case 'choice':
      return schema.enum?.includes(raw) === true ? raw : replacementOf(schema, raw);
    case 'switch':
      return parseBool(raw);
    case 'ports':
      return parsePortRange(raw) === undefined ? undefined : raw;
    case 'count':
      return within(schema, /^\d+$/.test(raw) ? Number(raw) : undefined);
    case 'duration':
      return within(schema, parseDuration(raw));
    case 'address':
      return raw === '' || isAllowedAddress(schema, raw) ? raw : undefined;
  }
}

function isAllowedAddress({ port = 0, everywhere }: OptionSchema, raw: string): boolean {
  return (
    parseHostPort(raw, port) !== undefined &&
    (everywhere !== 'by name' || !raw.startsWith(':') || isIP(raw) !== 0)
  );
}

function within(schema: OptionSchema, value: number | undefined): number | undefined {
  if (value === undefined || value < (schema.minimum ?? 0) || value > (schema.maximum ?? Infinity))
    return undefined;
  return value;
}

function listOf(raw: string | readonly string[], kind: Members): string[] | undefined {
  if (raw === '') return [];
  const members = (typeof raw === 'string' ? raw.split(',') : raw).map((member) => member.trim());
  return members.includes('') || !areAllowed(members, kind) ? undefined : members;
}

function areAllowed(members: readonly string[], kind: Members): boolean {
  if (kind === 'texts') return true;
  if (kind === 'addresses') return members.every((member) => canonicalAddress(member) !== undefined);
  if (kind === 'rangesOrWords')
    return members.every((member) => nodePortWords.has(member) || canonicalCidr(member) !== undefined);
  const ranges = members.flatMap((member) => canonicalCidr(member) ?? []);
  const families = new Set(ranges.map(cidrFamily));
  return ranges.length === members.length && families.size === ranges.length;
}
