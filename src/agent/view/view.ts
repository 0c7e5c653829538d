// What the API and the metrics show, put together when asked.
import type {
  Backend,
  Counters,
  Flow,
  FlowPage,
  FlowQuery,
  PageQuery,
  Problem,
  Readiness,
  Service,
  ServicePortStatus,
  Status,
} from '../../api/bodies.ts';
import type { AgentView, Paged } from '../../api/view.ts';
import type { Config } from '../../config/schema.ts';
import { SluiceError } from '../../errors.ts';
import { problemsOf, whyMissing } from './problems.ts';
import type { Exempting } from '../exemptions.ts';
import type { Attachments } from '../../hooks/attach.ts';
import type { Features } from '../../kernel/features.ts';
import type { SocketHooks } from '../../hooks/cgroup.ts';
import type { Host } from '../../host/host.ts';
import { noTraffic } from '../../maps/counters.ts';
import type { FlowEntry } from '../../maps/flowrows.ts';
import type { Dataplane } from '../../maps/plane.ts';
import { describeFill, describeShortage, describeUncounted, isNearlyFull } from '../../maps/sizes.ts';
import { canonicalAddress } from '../../net/ip.ts';
import type { Endpoint, ServicePort } from '../../model/types.ts';
import type { RecentErrors } from '../../observe/recent.ts';
import type { Programming } from '../programmer.ts';
import type { Source, SourceProblem } from '../../source/objects.ts';
import type { Store } from '../../source/store.ts';
import type { PortState } from '../../table/state.ts';
import { lists } from '../../table/rows.ts';
import { joinHostPort } from '../../net/hostport.ts';
import { version } from '../../version.ts';

/** What the views look at. */
export interface Parts {
  readonly config: Pick<Config, 'nodeName'>;
  readonly features: Pick<Features, 'list'>;
  readonly source: Pick<Source, 'description'>;
  readonly store: Pick<Store, 'currentProblems' | 'service' | 'serviceKeys' | 'slices'>;
  readonly plane: Omit<
    Pick<Dataplane, keyof Dataplane>,
    'update' | 'setHost' | 'staleSockets' | 'start' | 'stop' | 'sweep' | 'mend' | 'grow' | 'idle'
  >;
  readonly host: Pick<Host, 'nodeAddresses'>;
  readonly attachments: Pick<Attachments, 'states'>;
  readonly sockets: Pick<SocketHooks, 'state'>;
  readonly exempting: Pick<Exempting, 'list'>;
  readonly programming: Pick<Programming, 'missing' | 'listed'>;
  readonly errors: Pick<RecentErrors, 'list'>;
}

/** A service port that is in the kernel and known to the source. */
export interface KnownPort extends PortState {
  readonly port: ServicePort;
}

type CountersOf = (id: number) => Counters;

export function createView(parts: Parts, metrics: () => Promise<string>): AgentView {
  const { plane, programming, store } = parts;
  const startedAt = new Date();
  return {
    readiness: () => readinessOf(programming.missing()),
    status: () => ({
      version,
      node: parts.config.nodeName,
      nodeAddresses: [...parts.host.nodeAddresses],
      startedAt: startedAt.toISOString(),
      uptimeSec: Math.floor((Date.now() - startedAt.getTime()) / 1_000),
      ...readinessOf(programming.missing()),
      ...statusOf(parts),
    }),
    services: (page) => {
      const { states, ...rest } = pageOf(plane.ports(), page, () => 1);
      return { services: servicesOf(states, plane.serviceCounters()), ...rest };
    },
    service: (namespace, name) => {
      const key = `${namespace}/${name}`;
      const states = knownPorts(plane.portsOf(key));
      const [service] = servicesOf(states, plane.serviceCounters());
      if (service === undefined) throw new SluiceError('SLB_E_NOT_FOUND', whyMissing(store, key));
      const countersOf = plane.backendCounters();
      const backends = states.flatMap((state) => backendsOf(state, countersOf));
      return { ...service, backends, problems: problemsOf(store, key).map(problemBody) };
    },
    backends: (page) => {
      const { states, ...rest } = pageOf(plane.ports(), page, countEndpoints);
      const countersOf = plane.backendCounters();
      return { backends: states.flatMap((state) => backendsOf(state, countersOf)), ...rest };
    },
    flows: (query) => flowsOf(plane, query),
    metrics,
  };
}

function readinessOf(missing: readonly string[]): Readiness {
  return { ready: missing.length === 0, missing: [...missing] };
}

/** Rows of an earlier agent that no Service has claimed yet belong to none. */
export function knownPorts(states: readonly PortState[]): KnownPort[] {
  return states.filter((state): state is KnownPort => state.port !== undefined);
}

/** Whole services in the order of their names, until they fill the page; the cursor is the last name. */
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
    counters: countersOf(row.id),
  };
}

/** Those that are not ready keep the connections they have, as long as they have a row. */
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
      counters: row === undefined ? noTraffic : countersOf(row.id),
    };
  });
}

function stateOf({ ready, terminating }: Endpoint, member: number): Backend['state'] {
  if (member !== 0) return 'ready';
  if (terminating) return 'draining';
  return ready ? 'unused' : 'not-ready';
}

function flowsOf(plane: Parts['plane'], query: Paged<FlowQuery>): FlowPage {
  const { limit, cursor, service } = query;
  const client = query.client === undefined ? undefined : addressOf(query.client);
  const portOf = ({ service: id }: FlowEntry): ServicePort | undefined => plane.portById(id)?.port;
  const nameOf = (port: ServicePort | undefined): string => `${port?.namespace ?? ''}/${port?.name ?? ''}`;
  const wanted = (flow: FlowEntry): boolean =>
    (client === undefined || flow.client.address === client) &&
    (service === undefined || service === nameOf(portOf(flow)));
  const page = plane.flows(wanted, limit, cursor);
  const flows = page.flows.map((flow) => describeFlow(flow, portOf(flow)));
  return page.cursor === undefined ? { flows } : { flows, cursor: page.cursor };
}

function addressOf(text: string): string {
  const address = canonicalAddress(text);
  if (address === undefined) throw new SluiceError('SLB_E_API', `client "${text}" is not an IP address`);
  return address;
}

const protocols: Readonly<Record<number, Flow['protocol']>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

function describeFlow(flow: FlowEntry, port: ServicePort | undefined): Flow {
  return {
    via: flow.via,
    protocol: protocols[flow.proto] ?? 'TCP',
    client: flow.client,
    frontend: flow.frontend,
    backend: flow.backend,
    source: flow.source,
    namespace: port?.namespace ?? '',
    service: port?.name ?? '',
    portName: port?.portName ?? '',
    state: flow.state,
    hairpin: flow.hairpin,
    masqueraded: flow.masqueraded,
    ageSec: flow.ageSec,
    ...(flow.idleSec === undefined ? {} : { idleSec: flow.idleSec }),
  };
}

type StatusOfRooms = Omit<
  Status,
  'version' | 'node' | 'nodeAddresses' | 'startedAt' | 'uptimeSec' | keyof Readiness
>;

function statusOf({
  source,
  store,
  plane,
  programming,
  attachments,
  sockets,
  exempting,
  features,
  errors,
}: Parts): StatusOfRooms {
  const ports = knownPorts(plane.ports());
  const { lastSync, failingSince } = plane;
  const fill = plane.fill();
  return {
    source: {
      description: source.description,
      synced: programming.listed,
      problems: store.currentProblems().map(problemBody),
    },
    socketHooks: { ...sockets.state() },
    exempt: exempting.list().map((one) => ({ ...one })),
    devices: attachments.states().map(({ name, role, tc, xdp }) => ({ name, role, tc, xdp })),
    features: features.list.map(({ name, supported, detail }) => ({ name, supported, detail })),
    maps: fill.map(({ name, used, size, bound }) => ({ name, used, size, bound })),
    warnings: warningsOf(plane),
    unprogrammed: plane.shortages.map((one) => ({ service: one.service, reason: describeShortage(one) })),
    verdicts: plane
      .verdicts()
      .map(({ hook, verdict, class: kind, packets }) => ({ hook, verdict, class: kind, packets })),
    events: plane.events().map(({ name, count }) => ({ event: name, count })),
    services: new Set(ports.map(({ port }) => `${port.namespace}/${port.name}`)).size,
    servicePorts: ports.length,
    backends: ports.reduce((sum, { backends }) => sum + backends.length, 0),
    ...(failingSince === undefined ? {} : { failingSince: failingSince.toISOString() }),
    ...(lastSync === undefined ? {} : { lastSync: { ...lastSync, at: lastSync.at.toISOString() } }),
    errors: errors.list().map(({ at, code, message }) => ({ at: at.toISOString(), code, message })),
  };
}

function warningsOf(plane: Parts['plane']): string[] {
  const filling = plane.fill().filter(isNearlyFull).map(describeFill);
  return plane.uncounted > 0 ? [...filling, describeUncounted(plane.uncounted)] : filling;
}

function problemBody({ where, field, message }: SourceProblem): Problem {
  return { where, field, message };
}

export function familyName({ family }: ServicePort): 'IPv4' | 'IPv6' {
  return family === 4 ? 'IPv4' : 'IPv6';
}
