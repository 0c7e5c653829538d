// /healthz for load balancers: may they send to this node? /livez for kubelet: should it restart the agent? Only
// /healthz depends on the state of the Node (S-96).
import { publish } from '../observe/channels.ts';
import type { Answer, Answers } from '../http/answer.ts';
import type { SyncHealth } from './sync.ts';

const autoscalerTaint = 'ToBeDeletedByClusterAutoscaler';

export interface NodeState {
  readonly taints: readonly string[];
  readonly deleting: boolean;
}

/** S-96. `undefined`: the Node object has not been seen yet. */
export function isNodeEligible(node: NodeState | undefined): boolean {
  return node !== undefined && !node.deleting && !node.taints.includes(autoscalerTaint);
}

export function liveAnswers(sync: SyncHealth, nodeEligible: () => boolean, now: () => Date): Answers {
  return {
    '/healthz': () => {
      const eligible = nodeEligible();
      return answer('healthz', sync, sync.healthy && eligible, { nodeEligible: eligible }, now());
    },
    '/livez': () => answer('livez', sync, sync.healthy, {}, now()),
  };
}

/** The zero time as Go's encoding/json writes it. */
const never = '0001-01-01T00:00:00Z';

function answer(probe: 'healthz' | 'livez', sync: SyncHealth, ok: boolean, node: object, now: Date): Answer {
  const { healthy } = sync;
  const synced = sync.lastSynced?.toISOString();
  const family = { lastUpdated: synced, healthy };
  const body = {
    // While healthy, kube-proxy reports the time of the answer.
    lastUpdated: ok ? now.toISOString() : (synced ?? never),
    currentTime: now.toISOString(),
    ...node,
    healthy,
    // Both families are written together, so they have one state; there is none before the first write.
    ...(synced === undefined ? {} : { status: { IPv4: family, IPv6: family } }),
  };
  const status = ok ? 200 : 503;
  publish('probe.answered', { probe, status });
  return { status, type: 'application/json', body: JSON.stringify(body) };
}
