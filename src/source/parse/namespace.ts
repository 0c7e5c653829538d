// A raw v1 Namespace, narrowed to what its annotations and labels set for its pods.
import type { NamespaceObject } from '../objects.ts';
import { bare, parseMeta } from './meta.ts';
import type { Place } from './reader.ts';
import { markedSocketHooks } from './sockethooks.ts';

export function parseNamespace(object: Place): NamespaceObject | undefined {
  const meta = parseMeta(object, '');
  if (meta === undefined) return undefined;
  return { kind: 'Namespace', meta: bare(meta), socketHooks: markedSocketHooks(object) };
}
