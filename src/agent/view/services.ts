// Services and backends as the REST API shows them.
import type {
  Backend,
  BackendPage,
  Counters,
  PageQuery,
  Service,
  ServiceDetail,
  ServicePage,
  ServicePortStatus,
} from '../../api/bodies.ts';
import type { Paged } from '../../api/view.ts';
import { SluiceError } from '../../errors.ts';
import { noTraffic } from '../../maps/counters.ts';
import type { Endpoint, ServicePort } from '../../model/types.ts';
import { joinHostPort } from '../../net/hostport.ts';
import { lists } from '../../table/rows.ts';
import type { PortState } from '../../table/state.ts';
import type { Components } from './components.ts';
import { problemBody, problemsOf, whyMissing } from './problems.ts';

/** A service port that is in the kernel and known to the source. */
export interface KnownPort extends PortState {
  readonly port: ServicePort;
}

type CountersOf = (id: number) => Counters | undefined;

/** One page of Services, by namespace/name. */
export function servicePage({ plane }: Pick<Components, 'plane'>, page: Paged<PageQuery>): ServicePage {
  const { states, ...rest } = pageOf(plane.ports(), page, () => 1);
  return { services: servicesOf(states, plane.serviceCounters()), ...rest };
}

/** Throws SLB_E_NOT_FOUND, which says why, when nothing is forwarded for the Service. */
export function serviceDetail(
  { plane, store }: Pick<Components, 'plane' | 'store'>,
  namespace: string,
  name: string,
): ServiceDetail {
  const key = `${namespace}/${name}`;
  const states = knownPorts(plane.portsOf(key));
  const [service] = servicesOf(states, plane.serviceCounters());
  if (service === undefined) throw new SluiceError('SLB_E_NOT_FOUND', whyMissing(store, key));
  const countersOf = plane.backendCounters();
  const backends = states.flatMap((state) => backendsOf(state, countersOf));
  return { ...service, backends, problems: problemsOf(store, key).map(problemBody) };
}

/** One page of backends; it ends with the last backend of a Service, so it may hold more than `limit`. */
export function backendPage({ plane }: Pick<Components, 'plane'>, page: Paged<PageQuery>): BackendPage {
  const { states, ...rest } = pageOf(plane.ports(), page, countEndpoints);
  const countersOf = plane.backendCounters();
  return { backends: states.flatMap((state) => backendsOf(state, countersOf)), ...rest };
}

/** Without the rows of an earlier agent whose Service has not been listed yet. */
export function knownPorts(states: readonly PortState[]): KnownPort[] {
  return states.filter((state): state is KnownPort => state.port !== undefined);
}

/** Whole Services by namespace/name until `limit` is reached; the cursor is the last name. */
function pageOf(
  all: readonly PortState[],
  { limit, cursor = '' }: Paged<PageQuery>,
  weigh: (service: readonly KnownPort[]) => number,
): { states: KnownPort[]; cursor?: string } {
  const byName = groupByService(knownPorts(all));
  const names = [...byName.keys()].filter((name) => name > cursor).sort();
  const states: KnownPort[] = [];
  let weight = 0;
  for (const [index, name] of names.entries()) {
    const own = byName.get(name) ?? [];
    states.push(...own);
    weight += weigh(own);
    if (weight >= limit && index + 1 < names.length) return { states, cursor: name };
  }
  return { states };
}

function countEndpoints(service: readonly KnownPort[]): number {
  return service.reduce((sum, { port }) => sum + port.endpoints.length, 0);
}

function groupByService(states: readonly KnownPort[]): Map<string, KnownPort[]> {
  const groups = new Map<string, KnownPort[]>();
  for (const state of states) {
    const name = `${state.port.namespace}/${state.port.name}`;
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [state]);
    else group.push(state);
  }
  return groups;
}

function servicesOf(states: readonly KnownPort[], countersOf: CountersOf): Service[] {
  return [...groupByService(states).values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const { namespace, name } = first.port;
    return { namespace, name, ports: group.map((state) => describePort(state, countersOf)) };
  });
}

function describePort({ port, row, sets, backends }: KnownPort, countersOf: CountersOf): ServicePortStatus {
  const { internalLocal, externalLocal, affinitySec } = port;
  return {
    id: row.id,
    portName: port.portName,
    protocol: port.protocol,
    family: familyName(port),
    frontends: port.frontends.map(({ kind, address, port: number }) => ({ kind, address, port: number })),
    backends: backends.filter((one) => one.lists !== 0).length,
    clusterBackends: sets.cluster?.ids.length ?? 0,
    localBackends: sets.local?.ids.length ?? 0,
    tableSize: (sets.cluster ?? sets.local)?.table.size ?? 0,
    internalTrafficPolicy: internalLocal ? 'Local' : 'Cluster',
    externalTrafficPolicy: externalLocal ? 'Local' : 'Cluster',
    affinitySec,
    allowedSources: [...port.allow],
    deniedSources: [...port.deny],
    ...countersField(countersOf(row.id)),
  };
}

/** All endpoints, also those that receive no new connections: they keep what they have as long as they have a row. */
function backendsOf({ port, backends }: KnownPort, countersOf: CountersOf): Backend[] {
  const rows = new Map(backends.map((row) => [joinHostPort(row.address, row.port), row]));
  const { namespace, name: service, portName, protocol } = port;
  return port.endpoints.map((endpoint): Backend => {
    const { address, port: number, local } = endpoint;
    const row = rows.get(joinHostPort(address, number));
    const member = row?.lists ?? 0;
    return {
      ...{ namespace, service, portName, protocol, address, port: number, local },
      id: row?.id ?? 0,
      state: stateOf(endpoint, member),
      lists: (['cluster', 'local'] as const).filter((list) => (member & lists[list]) !== 0),
      conditions: { ready: endpoint.ready, serving: endpoint.serving, terminating: endpoint.terminating },
      ...countersField(row === undefined ? noTraffic : countersOf(row.id)),
    };
  });
}

/** Where the kernel has no row to count in, zeros must not say that there is no traffic. */
function countersField(counters: Counters | undefined): { counted: boolean; counters: Counters } {
  return { counted: counters !== undefined, counters: counters ?? noTraffic };
}

function stateOf({ ready, terminating }: Endpoint, member: number): Backend['state'] {
  if (member !== 0) return 'ready';
  if (terminating) return 'draining';
  return ready ? 'unused' : 'not-ready';
}

export function familyName({ family }: ServicePort): 'IPv4' | 'IPv6' {
  return family === 4 ? 'IPv4' : 'IPv6';
}
