// The objects that all files together define. Pure.
import type { Change, EndpointSliceObject, ServiceObject, SourceObject, SourceProblem } from '../objects.ts';
import { deletion, objectKey, serviceKeyOf } from '../parse/object.ts';
import { findingsOf, sharedBy, whyNotForwarded, type Finding } from '../findings.ts';
import type { Defined, FileContent } from './document.ts';

export type Files = ReadonlyMap<string, FileContent>;

/**
 * The new content of a file after its old one. If the new one has an error, objects that it does not define may be
 * missing because of the error: they stay.
 */
export function supersede(old: FileContent | undefined, fresh: FileContent): FileContent {
  if (old === undefined || fresh.complete) return fresh;
  const now = new Set(fresh.objects.map(({ object }) => objectKey(object)));
  const kept = old.objects.filter(({ object }) => !now.has(objectKey(object)));
  return { ...fresh, objects: [...fresh.objects, ...kept] };
}

export interface Merged {
  readonly objects: ReadonlyMap<string, SourceObject>;
  readonly problems: readonly SourceProblem[];
}

/** Of several definitions of an object the first one wins, in the order of file names, not of time. */
export function merge(files: Files): Merged {
  const first = new Map<string, Defined>();
  const problems: SourceProblem[] = [];
  for (const name of [...files.keys()].sort()) {
    const content = files.get(name);
    problems.push(...(content?.problems ?? []));
    for (const defined of content?.objects ?? []) {
      const key = objectKey(defined.object);
      const winner = first.get(key);
      if (winner === undefined) first.set(key, defined);
      else problems.push(duplicate(defined, winner));
    }
  }
  problems.push(...skipped(first));
  return { objects: new Map([...first].map(([key, { object }]) => [key, object])), problems };
}

/** Findings that need all objects, by Service with the slices that name it. */
function skipped(all: ReadonlyMap<string, Defined>): readonly SourceProblem[] {
  const services = new Map<string, { service: ServiceObject | undefined; slices: EndpointSliceObject[] }>();
  for (const { object } of all.values()) {
    const key = serviceKeyOf(object) ?? '';
    const group = services.get(key) ?? { service: undefined, slices: [] };
    services.set(key, group);
    if (object.kind === 'Service') group.service = object;
    else if (object.kind === 'EndpointSlice') group.slices.push(object);
  }
  const groups = [...services.values()];
  return [
    ...groups.flatMap(({ service, slices }) => findingsOf(service, slices)),
    ...groups.flatMap(({ service, slices }) => (slices.length > 0 ? [] : unselected(service, all))),
    ...sharedBy(groups.flatMap(({ service }) => service ?? [])),
  ].map(({ object, field, message }) => {
    const [where, service] = [all.get(objectKey(object))?.where ?? '', serviceKeyOf(object)];
    return service === undefined ? { where, field, message } : { where, field, message, service };
  });
}

function unselected(
  service: ServiceObject | undefined,
  all: ReadonlyMap<string, Defined>,
): readonly Finding[] {
  if (service === undefined || whyNotForwarded(service) !== undefined) return [];
  if (all.get(objectKey(service))?.selects !== true) return [];
  const message = 'is not used: write EndpointSlices, without which connections are refused';
  return [{ object: service, field: 'spec.selector', message }];
}

/** The changes from one set of objects to another, deletions first: they free addresses and ports (S-20). */
export function changes(from: Merged['objects'], to: Merged['objects']): readonly Change[] {
  const gone = [...from].filter(([key]) => !to.has(key)).map(([, object]) => deletion(object));
  // Objects of an unchanged file are the same in memory; those of a file that was read again are compared as text.
  const put = [...to].filter(([key, object]) => !same(from.get(key), object));
  return [...gone, ...put.map(([, object]): Change => ({ op: 'put', object }))];
}

function same(a: SourceObject | undefined, b: SourceObject): boolean {
  return a === b || (a !== undefined && JSON.stringify(a) === JSON.stringify(b));
}

function duplicate({ object, where }: Defined, winner: Defined): SourceProblem {
  const { kind, meta } = object;
  const name = meta.namespace === '' ? meta.name : `${meta.namespace}/${meta.name}`;
  return { where, field: 'metadata.name', message: `${kind} ${name} is defined in ${winner.where} already` };
}
