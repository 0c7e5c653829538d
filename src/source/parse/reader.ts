// Reading unchecked values: each read either narrows the value or notes what is wrong and where.

export type Path = readonly (string | number)[];

export interface FieldProblem {
  readonly path: Path;
  readonly message: string;
  /** The object is sound; this part of it is passed over. */
  readonly passedOver?: true;
}

/** One place in a raw object, knowing the way to it. Problems of all places of one object are gathered in one list. */
export interface Place {
  readonly value: unknown;
  readonly problems: FieldProblem[];
  /** The path is spelt out only where something is wrong: it would cost more than all the rest of reading. */
  readonly parent: Place | undefined;
  readonly step: string | number;
}

export type Mapping = Readonly<Record<string, unknown>>;

export function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function root(value: unknown): Place {
  return { value, problems: [], parent: undefined, step: '' };
}

/** A field; of something that is no mapping, every field is absent. */
export function at(place: Place, name: string, ...names: readonly string[]): Place {
  const { value } = place;
  const child = {
    value: isMapping(value) && Object.hasOwn(value, name) ? value[name] : undefined,
    problems: place.problems,
    parent: place,
    step: name,
  };
  const [next, ...rest] = names;
  return next === undefined ? child : at(child, next, ...rest);
}

export function reject(place: Place, message: string): undefined {
  place.problems.push({ path: pathOf(place), message });
  return undefined;
}

/** Tells of a part that is passed over, in an object that is sound. */
export function passOver(place: Place, message: string): void {
  place.problems.push({ path: pathOf(place), message, passedOver: true });
}

/** null is what YAML makes of `key:` and what the API takes for absent. */
export function isAbsent(place: Place): boolean {
  return place.value === undefined || place.value === null;
}

export function items(place: Place): readonly Place[] {
  if (isAbsent(place)) return [];
  if (!Array.isArray(place.value)) {
    reject(place, `must be a list, not ${describe(place.value)}`);
    return [];
  }
  return (place.value as unknown[]).map((value, step) => ({
    value,
    problems: place.problems,
    parent: place,
    step,
  }));
}

export function text(place: Place): string | undefined {
  if (isAbsent(place)) return undefined;
  if (typeof place.value === 'string') return place.value;
  return reject(place, `must be text, not ${describe(place.value)}`);
}

export function flag(place: Place): boolean | undefined {
  if (isAbsent(place)) return undefined;
  if (typeof place.value === 'boolean') return place.value;
  return reject(place, `must be true or false, not ${describe(place.value)}`);
}

export function integer(place: Place, min: number, max: number): number | undefined {
  if (isAbsent(place)) return undefined;
  const { value } = place;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  return reject(place, `must be a whole number from ${min} to ${max}, not ${describe(value)}`);
}

/** A choice that has a default: the API takes an empty text for none, too. */
export function choice<T extends string>(place: Place, allowed: readonly T[], fallback: T): T {
  return place.value === '' ? fallback : (oneOf(place, allowed) ?? fallback);
}

export function oneOf<T extends string>(place: Place, allowed: readonly T[]): T | undefined {
  if (isAbsent(place)) return undefined;
  const found = allowed.find((option) => option === place.value);
  return found ?? reject(place, `must be one of ${allowed.join(', ')}, not ${describe(place.value)}`);
}

/** A mapping of text to text, without the names in `without`. */
export function textMap(place: Place, without: readonly string[] = []): Readonly<Record<string, string>> {
  if (isAbsent(place)) return {};
  if (!isMapping(place.value)) {
    reject(place, `must be a mapping, not ${describe(place.value)}`);
    return {};
  }
  const map: [string, string][] = [];
  for (const name of Object.keys(place.value)) {
    if (without.includes(name)) continue;
    const value = text(at(place, name));
    if (value !== undefined) map.push([name, value]);
  }
  return Object.fromEntries(map);
}

function pathOf({ parent, step }: Place): Path {
  return parent === undefined ? [] : [...pathOf(parent), step];
}

export function pathText(path: Path): string {
  return path.reduce<string>((out, step) => {
    if (typeof step === 'number') return `${out}[${step}]`;
    return out === '' ? step : `${out}.${step}`;
  }, '');
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (isMapping(value)) return 'a mapping';
  return JSON.stringify(value);
}
