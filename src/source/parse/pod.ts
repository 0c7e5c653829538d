// A raw v1 Pod, narrowed to what its sockets may be done to, and to how its cgroup is found. Its metadata alone will do.
import type { PodObject } from '../objects.ts';
import { meshOf } from './mesh.ts';
import { bare, parseMeta } from './meta.ts';
import { at, text, type Place } from './reader.ts';
import { markedSocketHooks } from './sockethooks.ts';

/** A static pod was there before its object: its cgroup has the name that kubelet had for it. */
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
