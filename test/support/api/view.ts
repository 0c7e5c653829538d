// A view of an agent with one Service of two backends, for tests of what reads it.
import type { Backend, Flow, Service, Status } from '../../../src/api/bodies.ts';
import type { AgentView } from '../../../src/api/view.ts';
import { SluiceError } from '../../../src/errors.ts';

const counters = {
  connections: 7,
  active: 3,
  packetsIn: 70,
  bytesIn: 7_000,
  packetsOut: 60,
  bytesOut: 1_250_000,
  refused: 2,
};

export const web: Service = {
  namespace: 'shop',
  name: 'web',
  ports: [
    {
      id: 1_048_577,
      portName: 'http',
      protocol: 'TCP',
      family: 'IPv4',
      frontends: [{ kind: 'ClusterIP', address: '10.96.0.10', port: 80 }],
      backends: 1,
      clusterBackends: 1,
      localBackends: 0,
      tableSize: 251,
      internalTrafficPolicy: 'Cluster',
      externalTrafficPolicy: 'Cluster',
      affinitySec: 0,
      allowedSources: [],
      deniedSources: [],
      counted: true,
      counters,
    },
  ],
};

export const webBackends: Backend[] = ['10.1.0.2', '10.1.0.3'].map((address, index) => ({
  id: 1_048_577 + index,
  namespace: 'shop',
  service: 'web',
  portName: 'http',
  protocol: 'TCP',
  address,
  port: 8080,
  state: index === 0 ? 'ready' : 'draining',
  conditions: { ready: index === 0, serving: true, terminating: index !== 0 },
  lists: index === 0 ? ['cluster'] : [],
  local: index === 0,
  counted: true,
  counters,
}));

export const webFlows: Flow[] = [1, 2, 3].map((index) => ({
  via: 'packets',
  protocol: 'TCP',
  client: { address: '10.2.0.9', port: 40_000 + index },
  frontend: { address: '10.96.0.10', port: 80 },
  backend: { address: '10.1.0.2', port: 8080 },
  source: { address: '10.2.0.9', port: 40_000 + index },
  namespace: 'shop',
  service: 'web',
  portName: 'http',
  state: 'established',
  hairpin: false,
  masqueraded: false,
  ageSec: 192,
  idleSec: 3,
}));

export const status: Status = {
  version: '0.1.0',
  node: 'node-a',
  nodeAddresses: ['192.0.2.1'],
  startedAt: '2026-01-01T00:00:00.000Z',
  uptimeSec: 3_600,
  ready: true,
  missing: [],
  source: { description: 'manifests /etc/sluice', synced: true, problems: [] },
  socketHooks: { state: 'on', detail: '/sys/fs/cgroup' },
  exempt: [
    { reason: 'mesh', name: 'shop/web-1', mesh: 'istio', cgroups: 1 },
    { reason: 'mesh', name: 'shop/web-2', mesh: 'istio', cgroups: 0 },
    { reason: 'option', name: 'batch.slice', mesh: '', cgroups: 1 },
  ],
  devices: [{ name: 'eth0', role: 'uplink', tc: 'tcx', xdp: 'native' }],
  features: [{ name: 'tcx', supported: true, detail: 'since 6.6' }],
  maps: [{ name: 'slb_backends', used: 2, size: 65_536, bound: 65_536 }],
  warnings: [],
  unprogrammed: [],
  verdicts: [{ hook: 'tc_in', verdict: 'REQUEST', class: 'SEND', packets: 70 }],
  counters: [
    { counter: 'AFFINITY_KEPT', count: 5 },
    { counter: 'AFFINITY_MOVED', count: 0 },
  ],
  services: 1,
  servicePorts: 1,
  backends: 2,
  lastSync: { at: '2026-01-01T00:00:01.000Z', tookMs: 1.5, operations: 9 },
  errors: [],
};

/** Pages of one flow after another, so that tests can follow a cursor. */
export function fakeView(changes: Partial<AgentView> = {}): AgentView {
  return {
    readiness: () => ({ ready: true, missing: [] }),
    status: () => status,
    services: () => ({ services: [web] }),
    service: (namespace, name) => {
      if (namespace === web.namespace && name === web.name)
        return { ...web, backends: webBackends, problems: [] };
      throw new SluiceError('SLB_E_NOT_FOUND', `there is no Service ${namespace}/${name}`);
    },
    backends: () => ({ backends: webBackends }),
    flows: ({ limit, cursor }) => {
      const start = cursor === undefined ? 0 : Number(cursor);
      if (!Number.isInteger(start))
        throw new SluiceError('SLB_E_API', `cursor "${cursor ?? ''}" is not one of ours`);
      const end = start + limit;
      const flows = webFlows.slice(start, end);
      return end < webFlows.length ? { flows, cursor: String(end) } : { flows };
    },
    metrics: () => Promise.resolve('# TYPE up gauge\nup 1\n'),
    ...changes,
  };
}
