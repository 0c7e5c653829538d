// /healthz and /livez: for load balancers that ask whether to send traffic here, and for the kubelet that asks whether to
// restart us. Only the former cares for the node (S-96).
import type { Answer, Answers } from './server.ts';
import type { SyncHealth } from './sync.ts';

const autoscalerTaint = 'ToBeDeletedByClusterAutoscaler';

export interface NodeState {
  readonly taints: readonly string[];
  readonly deleting: boolean;
}

/** S-96. `undefined` is a node that has not been seen yet. */
export function isNodeEligible(node: NodeState | undefined): boolean {
  return node !== undefined && !node.deleting && !node.taints.includes(autoscalerTaint);
}

export function liveAnswers(sync: SyncHealth, nodeEligible: () => boolean, now: () => Date): Answers {
  return {
    '/healthz': () => {
      const eligible = nodeEligible();
      return answer(sync, sync.healthy && eligible, { nodeEligible: eligible }, now());
    },
    '/livez': () => answer(sync, sync.healthy, {}, now()),
  };
}

function answer(sync: SyncHealth, ok: boolean, more: object, now: Date): Answer {
  const lastUpdated = (ok ? now : (sync.lastSynced ?? new Date(0))).toISOString();
  const family = { lastUpdated, healthy: sync.healthy };
  const body = {
    lastUpdated,
    currentTime: now.toISOString(),
    ...more,
    healthy: sync.healthy,
    status: { IPv4: family, IPv6: family }, // both families are written together
  };
  return { status: ok ? 200 : 503, type: 'application/json', body: `${JSON.stringify(body)}\n` };
}
