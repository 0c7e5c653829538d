// The kinds that are read, and parsing of a raw object by its kind.
import type { Change, SourceKind, SourceObject } from '../objects.ts';
import { parseEndpointSlice } from './endpointslice.ts';
import { parseNamespace } from './namespace.ts';
import { parseNode } from './node.ts';
import { parsePod } from './pod.ts';
import { parseService } from './service.ts';
import { root, type FieldProblem, type Place } from './reader.ts';

interface Kind {
  readonly apiVersion: string;
  readonly parse: (object: Place) => SourceObject | undefined;
}

export const kinds: Readonly<Record<SourceKind, Kind>> = {
  Service: { apiVersion: 'v1', parse: parseService },
  EndpointSlice: { apiVersion: 'discovery.k8s.io/v1', parse: parseEndpointSlice },
  Node: { apiVersion: 'v1', parse: parseNode },
  Namespace: { apiVersion: 'v1', parse: parseNamespace },
  Pod: { apiVersion: 'v1', parse: parsePod },
};

export function isKnownKind(kind: string): kind is SourceKind {
  return Object.hasOwn(kinds, kind);
}

export interface Parsed {
  /** Undefined when nothing of the object can be used. */
  readonly object: SourceObject | undefined;
  /** Fields that cannot be used and were left out. */
  readonly problems: readonly FieldProblem[];
}

export function parseObject(kind: SourceKind, raw: unknown): Parsed {
  const place = root(raw);
  return { object: kinds[kind].parse(place), problems: place.problems };
}

/** Kind, namespace and name: the identity of an object, together with its uid. */
export function objectKey(object: SourceObject): string {
  return `${object.kind}/${object.meta.namespace}/${object.meta.name}`;
}

/** namespace/name of the Service, for a Service and its slices; undefined for other objects. */
export function serviceKeyOf(object: SourceObject | undefined): string | undefined {
  if (object?.kind === 'Service') return `${object.meta.namespace}/${object.meta.name}`;
  if (object?.kind !== 'EndpointSlice' || object.serviceName === '') return undefined;
  return `${object.meta.namespace}/${object.serviceName}`;
}

export function deletion({ kind, meta }: SourceObject): Change {
  return { op: 'del', kind, namespace: meta.namespace, name: meta.name };
}
