// The text of one file → objects and problems, by line and field.
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments, type Document } from 'yaml';
import type { SourceKind, SourceObject, SourceProblem } from '../objects.ts';
import { foreignLabelOf } from '../parse/meta.ts';
import { isKnownKind, kinds, objectKey, parseObject, serviceKeyOf } from '../parse/object.ts';
import { isMapping, pathText, type FieldProblem, type Mapping, type Path } from '../parse/reader.ts';
import { namesOf, unknownFields } from './fields.ts';

export interface Defined {
  readonly object: SourceObject;
  readonly where: string; // file:line
  /** It has a selector: without a controller no EndpointSlices are made from it. */
  readonly selects?: true;
}

export interface FileContent {
  /** Every valid object, in the order of the file. */
  readonly objects: readonly Defined[];
  readonly problems: readonly SourceProblem[];
  /** False when an error may have kept objects out: an object that is missing then is not a deleted one. */
  readonly complete: boolean;
}

/** One object of a file: the raw value and its path from the root of the document. */
interface Raw {
  readonly value: unknown;
  readonly path: Path;
}

interface Reading {
  readonly file: string;
  readonly lines: LineCounter;
  readonly objects: Defined[];
  readonly problems: SourceProblem[];
  /** Kinds that are not read, by name and group. */
  readonly unread: Map<string, { readonly line: number; readonly message: string; count: number }>;
  complete: boolean;
}

export function readManifest(file: string, text: string): FileContent {
  const reading: Reading = {
    ...{ file, lines: new LineCounter(), objects: [], problems: [], unread: new Map(), complete: true },
  };
  // An error belongs to its document: those before and after it are read.
  const documents = parseAllDocuments(text, { lineCounter: reading.lines, prettyErrors: false });
  for (const document of Array.isArray(documents) ? documents : []) readDocument(reading, document);
  for (const { line, message, count } of reading.unread.values())
    note(reading, line, 'kind', count > 1 ? `${message} (${String(count)} of them)` : message);
  if (text.trim() === '')
    fail(reading, 1, '', 'is empty: delete the file to delete the objects that it defined');
  return reading;
}

function readDocument(reading: Reading, document: Document.Parsed): void {
  const [error] = document.errors;
  if (error !== undefined) {
    fail(reading, reading.lines.linePos(error.pos[0]).line, '', error.message);
    return;
  }
  for (const { pos, message } of document.warnings)
    note(reading, reading.lines.linePos(pos[0]).line, '', message);
  for (const raw of unfold(toValue(reading, document), [])) readObject(reading, document, raw);
}

/** Some errors, such as too many aliases, show only here. */
function toValue(reading: Reading, document: Document.Parsed): unknown {
  try {
    return document.toJS();
  } catch (error) {
    fail(reading, lineOf(reading, document, []), '', error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

/** A document is one object or a List of objects; an empty document (one separator too many) is none. */
function unfold(value: unknown, path: Path): readonly Raw[] {
  if (value === undefined || value === null) return [];
  if (!isMapping(value) || !String(value['kind']).endsWith('List') || !Array.isArray(value['items'])) {
    return [{ value, path }];
  }
  return value['items'].flatMap((item, index) => unfold(item, [...path, 'items', index]));
}

function readObject(reading: Reading, document: Document.Parsed, raw: Raw): void {
  const place = (path: Path): number => lineOf(reading, document, [...raw.path, ...path]);
  const tell = (problem: FieldProblem, service?: string): void =>
    (problem.skipped === true ? note : fail)(
      reading,
      place(problem.path),
      pathText(problem.path),
      problem.message,
      service,
    );
  if (!isMapping(raw.value)) return tell({ path: [], message: 'is no Kubernetes object' });
  const kind = kindOf(raw.value);
  if (kind === undefined) return skipKind(reading, place(['kind']), raw.value);
  if (typeof kind !== 'string') return tell(kind);

  const { object, problems: unusable } = parseObject(kind, raw.value);
  const problems = [...unusable, ...namesOf(object)];
  const about = serviceKeyOf(object);
  for (const problem of [...problems, ...unknownFields(kind, raw.value)]) tell(problem, about);
  // As by the API server: an object with an error is refused as a whole, and the earlier one stays in force.
  if (object === undefined || problems.some(({ skipped }) => skipped !== true)) return;
  const label = foreignLabelOf(object.meta);
  const message = `the label ${label ?? ''} assigns it to another proxy`;
  if (label !== undefined) return tell({ path: ['metadata', 'labels'], message, skipped: true }, about);
  const defined = { object: withUid(object), where: `${reading.file}:${place([])}` };
  reading.objects.push(hasSelector(raw.value) ? { ...defined, selects: true } : defined);
}

function hasSelector({ spec }: Mapping): boolean {
  return isMapping(spec) && isMapping(spec['selector']) && Object.keys(spec['selector']).length > 0;
}

/** One line per kind: a Deployment next to its Service is common. */
function skipKind({ unread }: Reading, line: number, { kind, apiVersion }: Mapping): void {
  const name = `${String(kind)} of ${String(apiVersion)}`;
  const known = unread.get(name);
  if (known !== undefined) known.count++;
  else if (name === 'Endpoints of v1')
    unread.set(name, { line, message: 'Endpoints are not read: write an EndpointSlice instead', count: 1 });
  else unread.set(name, { line, message: `${name} is not read`, count: 1 });
}

/**
 * The kind; undefined for kinds that are not read, and for kinds of the same name in other API groups (Knative has a
 * Service).
 */
function kindOf(raw: Mapping): SourceKind | FieldProblem | undefined {
  const { kind, apiVersion } = raw as { kind?: unknown; apiVersion?: unknown };
  if (typeof kind !== 'string') return { path: ['kind'], message: 'is missing' };
  if (typeof apiVersion !== 'string') return { path: ['apiVersion'], message: 'is missing' };
  if (!isKnownKind(kind)) return undefined;
  const ours = kinds[kind].apiVersion;
  if (apiVersion === ours) return kind;
  const group = (version: string): string => (version.includes('/') ? version.replace(/\/.*/, '') : '');
  if (group(apiVersion) !== group(ours) && group(apiVersion) !== '') return undefined;
  return { path: ['apiVersion'], message: `must be ${ours} for kind ${kind}, not ${apiVersion}` };
}

/** The uid is derived from the name: an object is re-created only when it is deleted and added again. */
function withUid(object: SourceObject): SourceObject {
  return { ...object, meta: { ...object.meta, uid: `manifest:${objectKey(object)}` } };
}

function fail(reading: Reading, line: number, field: string, message: string, service?: string): void {
  note(reading, line, field, message, service);
  reading.complete = false;
}

/** A problem that leaves the object in force. */
function note(reading: Reading, line: number, field: string, message: string, service?: string): void {
  const about = service === undefined ? {} : { service };
  reading.problems.push({ where: `${reading.file}:${line}`, field, message, ...about });
}

/** The line of a field; for a missing field, the line of its parent. */
function lineOf(reading: Reading, document: Document.Parsed, path: Path): number {
  let node: unknown = document.contents;
  let offset = isNode(node) ? node.range?.[0] : undefined;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    const { start, value } = stepInto(node, step);
    if (start === undefined) break;
    offset = start;
    node = value;
  }
  return reading.lines.linePos(offset ?? document.range[0]).line;
}

function stepInto(node: unknown, step: string | number): { start?: number | undefined; value?: unknown } {
  if (isSeq(node)) {
    const value = node.items[Number(step)];
    return { start: isNode(value) ? value.range?.[0] : undefined, value };
  }
  if (!isMap(node)) return {};
  const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
  return { start: isScalar(pair?.key) ? pair.key.range?.[0] : undefined, value: pair?.value };
}
