// Kubernetes events: what `kubectl describe` shows of a Node or Service when the agent starts, cannot listen or cannot
// program (S-94, S-97, S-109).
import { messageOf } from '../errors.ts';
import { listen, type Facts } from '../observe/channels.ts';
import type { ObjectEvent, Source } from '../source/objects.ts';
import type { Store } from '../source/store.ts';

export interface EventsOptions {
  readonly nodeName: string;
  readonly source: Pick<Source, 'record'>;
  readonly store: Pick<Store, 'service'>;
}

/** Records that the agent starts, and from then on its failures. Returns the function that ends this. */
export function recordEvents({ nodeName, source, store }: EventsOptions): () => void {
  // kubectl finds the events of a Node by its name in the place of the uid, as kubelet writes them.
  const node = { kind: 'Node', namespace: '', name: nodeName, uid: nodeName } as const;
  const ofNode = { action: 'StartSluice', regarding: node };
  source.record({
    ...ofNode,
    type: 'Normal',
    reason: 'Starting',
    note: 'Sluice takes over Services on this node',
  });
  const stopUnserved = listen('service.unserved', ({ service, error }) => {
    const event = { type: 'Warning', reason: 'FailedToProgram', action: 'Program' } as const;
    const note = `node ${nodeName}: ${messageOf(error)}`;
    source.record({ ...event, note, regarding: service === '' ? node : regardingService(service, store) });
  });
  const stopFailed = listen('server.failed', (fact) => {
    const note = messageOf(fact.error);
    const reason = nodeReasons[fact.server];
    if (fact.service !== undefined) source.record(serviceEvent(fact, fact.service, nodeName, store));
    else if (reason !== undefined) source.record({ ...ofNode, type: 'Warning', reason, note });
  });
  return () => {
    stopUnserved();
    stopFailed();
  };
}

const nodeReasons: Readonly<Record<string, string>> = {
  healthz: 'FailedToStartProxierHealthcheck',
  metrics: 'FailedToStartMetricServer',
};

function serviceEvent(
  { error }: Facts['server.failed'],
  service: string,
  nodeName: string,
  store: EventsOptions['store'],
): ObjectEvent {
  return {
    type: 'Warning',
    reason: 'FailedToStartServiceHealthcheck',
    action: 'Listen',
    note: `node ${nodeName}: ${messageOf(error)}`,
    regarding: regardingService(service, store),
  };
}

function regardingService(service: string, store: EventsOptions['store']): ObjectEvent['regarding'] {
  const [namespace = '', name = ''] = service.split('/');
  return { kind: 'Service', namespace, name, uid: store.service(service)?.meta.uid ?? '' };
}
