// Metadata of objects: names, and the labels that assign an object to another service proxy.
import type { ObjectMeta } from '../objects.ts';
import { at, reject, text, textMap, type Place } from './reader.ts';

/** An object with one of these labels, whatever its value, is not proxied here (S-2). */
const foreign = ['service.kubernetes.io/service-proxy-name', 'service.kubernetes.io/headless'] as const;

/**
 * The same rule as a label selector: the API server sends no such objects, and a DELETED event when a label is added.
 */
export const ownSelector = foreign.map((label) => `!${label}`).join(',');

export function isForeign(meta: ObjectMeta): boolean {
  return foreignLabelOf(meta) !== undefined;
}

/** The label by which it is foreign. */
export function foreignLabelOf({ labels }: ObjectMeta): string | undefined {
  return foreign.find((label) => Object.hasOwn(labels, label));
}

/** kubectl apply keeps a copy of the whole object here, which is not used and not kept. */
const heavyAnnotations = ['kubectl.kubernetes.io/last-applied-configuration'];

/** Undefined when the object has no name. `defaultNamespace` is "" for cluster-scoped kinds. */
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

/** Without labels and annotations, which take most of an object's memory. */
export function bare(meta: ObjectMeta): ObjectMeta {
  return { ...meta, labels: {}, annotations: {} };
}
