// Pods whose sockets are not translated, and why. Pure.
import type { NamespaceObject, PodObject } from '../source/objects.ts';

export type ExemptReason = 'pod' | 'namespace' | 'mesh' | 'option';

export interface ExemptPod {
  readonly name: string; // namespace/name
  readonly cgroupUid: string;
  readonly reason: Exclude<ExemptReason, 'option'>;
  readonly mesh: string; // "" when it is not the reason
}

export function exemptPods(
  pods: readonly PodObject[],
  namespace: (name: string) => NamespaceObject | undefined,
): readonly ExemptPod[] {
  return pods.flatMap((pod) => {
    const reason = reasonFor(pod, namespace(pod.meta.namespace));
    if (reason === undefined) return [];
    const name = `${pod.meta.namespace}/${pod.meta.name}`;
    return { name, cgroupUid: pod.cgroupUid, reason, mesh: reason === 'mesh' ? (pod.mesh ?? '') : '' };
  });
}

/** An annotation or label of the pod wins over one of its namespace, and both over the mesh. */
function reasonFor(pod: PodObject, namespace: NamespaceObject | undefined): ExemptPod['reason'] | undefined {
  if (pod.socketHooks !== undefined) return pod.socketHooks ? undefined : 'pod';
  if (namespace?.socketHooks === false) return 'namespace';
  return pod.mesh === undefined ? undefined : 'mesh';
}
