// A raw v1 Pod, narrowed to whether its sockets may be translated and how its cgroup is found. Metadata is enough.
import type { PodObject } from '../objects.ts';
import { meshOf } from './mesh.ts';
import { bare, parseMeta } from './meta.ts';
import { at, text, type Place } from './reader.ts';
import { markedSocketHooks } from './sockethooks.ts';

/** A static pod: the kubelet names its cgroup by this hash, not by the uid of the mirror pod. */
const mirrorAnnotation = 'kubernetes.io/config.mirror';

export function parsePod(object: Place): PodObject | undefined {
  const meta = parseMeta(object, 'default');
  if (meta === undefined) return undefined;
  return {
    kind: 'Pod',
    meta: bare(meta),
    nodeName: text(at(object, 'spec', 'nodeName')),
    cgroupUid: meta.annotations[mirrorAnnotation] ?? meta.uid,
    socketHooks: markedSocketHooks(object),
    mesh: meshOf(object),
  };
}
