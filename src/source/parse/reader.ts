// Typed access to unchecked values: each read narrows the value or notes a problem with its path.

export type Path = readonly (string | number)[];

export interface FieldProblem {
  readonly path: Path;
  readonly message: string;
  /** The object is valid; this part of it is skipped. */
  readonly skipped?: true;
}

/** One value in a raw object, with its path. The places of one object share a list of problems. */
export interface Place {
  readonly value: unknown;
  readonly problems: FieldProblem[];
  /** Paths are built only for problems: building all of them would cost more than the rest of parsing. */
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

/** A field, or a field of a field. In a value that is no mapping, every field is absent. */
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

/** Notes a problem; returns undefined, for use as the result. */
export function reject(place: Place, message: string): undefined {
  place.problems.push({ path: pathOf(place), message });
  return undefined;
}

/** Notes a part that is skipped, in an object that is valid. */
export function skip(place: Place, message: string): void {
  place.problems.push({ path: pathOf(place), message, skipped: true });
}

/** null too: YAML gives it for `key:`, and the API takes it for absent. */
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

/** One of `allowed`; `fallback` when absent, "" (as in the API) or invalid. */
export function choice<T extends string>(place: Place, allowed: readonly T[], fallback: T): T {
  return place.value === '' ? fallback : (oneOf(place, allowed) ?? fallback);
}

export function oneOf<T extends string>(place: Place, allowed: readonly T[]): T | undefined {
  if (isAbsent(place)) return undefined;
  const found = allowed.find((option) => option === place.value);
  return found ?? reject(place, `must be one of ${allowed.join(', ')}, not ${describe(place.value)}`);
}

/** A mapping of text to text, less the keys in `without`. */
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
