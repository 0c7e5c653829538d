// What every object has: its name, and the labels that give it to another proxy.
import type { ObjectMeta } from '../objects.ts';
import { at, reject, text, textMap, type Place } from './reader.ts';

/** An object with one of these labels, whatever its value, is not ours (S-2). */
const foreign = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless'] as const;

/** The same rule as the API server applies it: such objects are then never sent, and a label that comes is a deletion. */
export const ownSelector = foreign.map((label) => `!${label}`).join(',');

export function isForeign(meta: ObjectMeta): boolean {
  return foreignLabelOf(meta) !== undefined;
}

/** The label that makes it so. */
export function foreignLabelOf({ labels }: ObjectMeta): string | undefined {
  return foreign.find((label) => Object.hasOwn(labels, label));
}

/** kubectl keeps a copy of the whole object here: as large as the object, and of no use to us. */
const heavyAnnotations = ['kubectl.kubernetes.io/last-applied-configuration'];

/** Undefined when the object has no name. `defaultNamespace` is '' for kinds that have none. */
export function parseMeta(object: Place, defaultNamespace: string): ObjectMeta | undefined {
  const metadata = at(object, 'metadata');
  const namePlace = at(metadata, 'name');
  const name = text(namePlace) ?? '';
  if (name === '') {
    if (metadata.problems.length === 0) reject(namePlace, 'is missing');
    return undefined;
  }
  return {
    name,
    namespace: defaultNamespace === '' ? '' : (text(at(metadata, 'namespace')) ?? defaultNamespace),
    uid: text(at(metadata, 'uid')) ?? '',
    labels: textMap(at(metadata, 'labels')),
    annotations: textMap(at(metadata, 'annotations'), heavyAnnotations),
  };
}

/** Without what most of an object's memory goes to. */
export function bare(meta: ObjectMeta): ObjectMeta {
  return { ...meta, labels: {}, annotations: {} };
}
