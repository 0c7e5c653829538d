// Bodies of the REST API. These schemas give the checks of answers, the OpenAPI description and the types of view and
// CLI.
import Type, { type Static } from 'typebox';

const Timestamp = Type.String({ format: 'date-time' });
const Seconds = Type.Integer({ minimum: 0, description: 'seconds' });
const Count = Type.Integer({ minimum: 0 });

export const ErrorBody = Type.Object(
  { code: Type.String({ description: 'stable, SLB_E_…' }), message: Type.String() },
  { title: 'Error' },
);

export const CountersBody = Type.Object(
  {
    connections: Type.Integer({ minimum: 0, description: 'by packets and by socket hooks' }),
    active: Type.Integer({
      minimum: 0,
      description:
        'open sockets of this node that socket hooks connected to it; the flow list has the other connections',
    }),
    packetsIn: Type.Integer({ description: 'client to backend; those of socket hooks are not counted' }),
    bytesIn: Type.Integer({
      description:
        'IP length, headers included; of TCP sockets of socket hooks their payload, added at close',
    }),
    packetsOut: Type.Integer({ description: 'backend to client' }),
    bytesOut: Count,
    refused: Type.Integer({
      description: 'packets and connect() calls that were rejected or dropped instead of sent to a backend',
    }),
  },
  { title: 'Counters' },
);
export type Counters = Static<typeof CountersBody>;

const SocketAddress = Type.Object({ address: Type.String(), port: Count });

export const BackendBody = Type.Object(
  {
    id: Type.Integer({ description: 'id in the maps: slot and generation; 0: not in the kernel' }),
    namespace: Type.String(),
    service: Type.String(),
    portName: Type.String(),
    protocol: Type.Enum(['TCP', 'UDP', 'SCTP']),
    address: Type.String(),
    port: Count,
    state: Type.Enum(['ready', 'unused', 'draining', 'not-ready'], {
      description:
        'ready: receives new connections; unused: ready, but topology hints or traffic policies send none from this node; ' +
        'not-ready, draining (terminating): keep the connections they have',
    }),
    conditions: Type.Object(
      { ready: Type.Boolean(), serving: Type.Boolean(), terminating: Type.Boolean() },
      {
        description:
          'as its EndpointSlice has them; ready without serving: publishNotReadyAddresses; state ready while it is ' +
          'terminating: no endpoint is ready, so new connections go to those that still serve',
      },
    ),
    lists: Type.Array(Type.Enum(['cluster', 'local']), {
      description: 'lists that new connections choose from: cluster, or local for traffic policy Local',
    }),
    local: Type.Boolean({ description: 'on this node' }),
    counted: Type.Boolean({
      description: 'false: there are more of them than rows of counters; all are 0 then',
    }),
    counters: CountersBody,
  },
  { title: 'Backend' },
);
export type Backend = Static<typeof BackendBody>;

const TrafficPolicy = Type.Enum(['Cluster', 'Local']);

export const ServicePortBody = Type.Object(
  {
    id: Type.Integer(),
    portName: Type.String(),
    protocol: Type.Enum(['TCP', 'UDP', 'SCTP']),
    family: Type.Enum(['IPv4', 'IPv6']),
    frontends: Type.Array(
      Type.Object({
        kind: Type.String({ description: 'ClusterIP, ExternalIP, LoadBalancer, NodePort' }),
        address: Type.String({ description: '0.0.0.0 and ::: all addresses at which NodePorts answer' }),
        port: Count,
      }),
    ),
    backends: Type.Integer({ description: 'backends that receive new connections' }),
    clusterBackends: Type.Integer({ description: 'of these, for traffic policy Cluster' }),
    localBackends: Type.Integer({ description: 'of these, for traffic policy Local' }),
    tableSize: Type.Integer({ description: 'entries of the Maglev table' }),
    internalTrafficPolicy: TrafficPolicy,
    externalTrafficPolicy: TrafficPolicy,
    affinitySec: Seconds,
    allowedSources: Type.Array(Type.String(), {
      description: 'CIDRs that may connect to load balancer addresses; empty: all',
    }),
    deniedSources: Type.Array(Type.String(), {
      description: 'CIDRs that may connect to the ClusterIP only',
    }),
    counted: Type.Boolean({
      description: 'false: there are more of them than rows of counters; all are 0 then',
    }),
    counters: CountersBody,
  },
  { title: 'ServicePort' },
);
export type ServicePortStatus = Static<typeof ServicePortBody>;

export const ServiceBody = Type.Object(
  { namespace: Type.String(), name: Type.String(), ports: Type.Array(ServicePortBody) },
  { title: 'Service' },
);
export type Service = Static<typeof ServiceBody>;

const ProblemBody = Type.Object(
  {
    where: Type.String({ description: 'file:line, or the object' }),
    field: Type.String({ description: 'empty when it is about the whole object' }),
    message: Type.String(),
  },
  { title: 'Problem', description: 'an object, or a part of one, that is not used' },
);
export type Problem = Static<typeof ProblemBody>;

export const ServiceDetailBody = Type.Object(
  {
    namespace: Type.String(),
    name: Type.String(),
    ports: Type.Array(ServicePortBody),
    backends: Type.Array(BackendBody),
    problems: Type.Array(ProblemBody, { description: 'of this Service and its EndpointSlices' }),
  },
  { title: 'ServiceDetail' },
);
export type ServiceDetail = Static<typeof ServiceDetailBody>;

export const FlowBody = Type.Object(
  {
    via: Type.Enum(['packets', 'socket'], {
      description: 'packets: each is translated; socket: connected to the backend by a socket hook',
    }),
    protocol: Type.Enum(['TCP', 'UDP', 'SCTP']),
    client: Type.Object(SocketAddress.properties, {
      description: '"" and 0 while not known: a UDP socket has no source before the kernel chooses one',
    }),
    frontend: SocketAddress,
    backend: SocketAddress,
    source: Type.Object(SocketAddress.properties, {
      description: 'what the backend sees: the client, or the SNAT address',
    }),
    namespace: Type.String({ description: 'empty when the Service is gone' }),
    service: Type.String(),
    portName: Type.String(),
    state: Type.Enum(['half-open', 'established', 'half-closed', 'closed'], {
      description:
        'of a socket: TCP is half-open until its handshake is done, and then established until it is closed; ' +
        'UDP is established',
    }),
    hairpin: Type.Boolean({ description: 'the client is its own backend' }),
    masqueraded: Type.Boolean({ description: 'SNAT: the backend sees an address of this node' }),
    ageSec: Seconds,
    idleSec: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'seconds; of sockets only where every datagram names its peer, absent for others',
      }),
    ),
  },
  { title: 'Flow' },
);
export type Flow = Static<typeof FlowBody>;

const pageLimit = Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 }));
const pageCursor = Type.Optional(Type.String({ maxLength: 600, description: 'of the page before' }));
const nextCursor = Type.Optional(Type.String({ description: 'for the next page; absent on the last' }));

export const FlowPageBody = Type.Object(
  {
    flows: Type.Array(FlowBody),
    cursor: nextCursor,
  },
  { title: 'FlowPage' },
);
export type FlowPage = Static<typeof FlowPageBody>;

// A misspelt filter must not select everything: no query takes names that it does not know.
export const PageQueryBody = Type.Object(
  { limit: pageLimit, cursor: pageCursor },
  { additionalProperties: false },
);
export type PageQuery = Static<typeof PageQueryBody>;

export const ServicePageBody = Type.Object(
  { services: Type.Array(ServiceBody), cursor: nextCursor },
  { title: 'ServicePage' },
);
export type ServicePage = Static<typeof ServicePageBody>;

export const BackendPageBody = Type.Object(
  { backends: Type.Array(BackendBody), cursor: nextCursor },
  { title: 'BackendPage' },
);
export type BackendPage = Static<typeof BackendPageBody>;

export const FlowQueryBody = Type.Object(
  {
    limit: pageLimit,
    cursor: pageCursor,
    service: Type.Optional(Type.String({ pattern: '^[^/]+/[^/]+$', description: 'namespace/name' })),
    client: Type.Optional(Type.String({ description: 'address of the client' })),
  },
  { additionalProperties: false },
);
export type FlowQuery = Static<typeof FlowQueryBody>;

export const StatusBody = Type.Object(
  {
    version: Type.String(),
    node: Type.String(),
    nodeAddresses: Type.Array(Type.String()),
    startedAt: Timestamp,
    uptimeSec: Seconds,
    ready: Type.Boolean(),
    missing: Type.Array(Type.String(), { description: 'what must still happen before the agent is ready' }),
    source: Type.Object({
      description: Type.String(),
      synced: Type.Boolean(),
      problems: Type.Array(ProblemBody),
    }),
    socketHooks: Type.Object(
      {
        state: Type.Enum(['on', 'off', 'ending'], {
          description:
            'ending: no more sockets are pointed at backends, those that are go on until they are closed',
        }),
        detail: Type.String({ description: 'the cgroup, or why not' }),
      },
      { description: 'programs that point sockets at backends as they connect' },
    ),
    exempt: Type.Array(
      Type.Object({
        reason: Type.Enum(['pod', 'namespace', 'mesh', 'option']),
        name: Type.String({ description: 'namespace/name of a pod, or the cgroup as the option has it' }),
        mesh: Type.String({ description: 'empty when it is not the reason' }),
        cgroups: Type.Integer({ minimum: 0, description: 'found for it; 0: it is not left alone yet' }),
      }),
      { description: 'whose sockets these programs leave alone, and why' },
    ),
    devices: Type.Array(
      Type.Object({
        name: Type.String(),
        role: Type.String({ description: 'uplink, tunnel, pod or host: who is behind it' }),
        tc: Type.String(),
        xdp: Type.String(),
      }),
    ),
    features: Type.Array(
      Type.Object({ name: Type.String(), supported: Type.Boolean(), detail: Type.String() }),
    ),
    maps: Type.Array(
      Type.Object({
        name: Type.String(),
        used: Count,
        size: Type.Integer({ minimum: 0, description: 'rows that it has now' }),
        bound: Type.Integer({ minimum: 0, description: 'rows that it may grow to' }),
      }),
    ),
    warnings: Type.Array(Type.String(), {
      description: 'tables that are nearly full, and what gives them room; backends that have no counters',
    }),
    unprogrammed: Type.Array(
      Type.Object({
        service: Type.String({ description: 'namespace/name; empty: addresses and devices of the node' }),
        reason: Type.String(),
      }),
      { description: 'Services that are not in the kernel as they should be; each keeps what it had before' },
    ),
    verdicts: Type.Array(
      Type.Object({
        hook: Type.String(),
        verdict: Type.String(),
        class: Type.String(),
        packets: Type.Integer({ minimum: 0, description: 'of hook sock: system calls' }),
      }),
    ),
    counters: Type.Array(Type.Object({ counter: Type.String(), count: Count }), {
      description: 'what happened to packets besides how they ended',
    }),
    services: Count,
    servicePorts: Count,
    backends: Count,
    failingSince: Type.Optional(
      Type.String({
        format: 'date-time',
        description: 'when the kernel began to refuse what must be written',
      }),
    ),
    lastSync: Type.Optional(Type.Object({ at: Timestamp, tookMs: Type.Number(), operations: Count })),
    errors: Type.Array(Type.Object({ at: Timestamp, code: Type.String(), message: Type.String() }), {
      description: 'the latest, newest first',
    }),
  },
  { title: 'Status' },
);
export type Status = Static<typeof StatusBody>;

export const ReadinessBody = Type.Object(
  { ready: Type.Boolean(), missing: Type.Array(Type.String()) },
  { title: 'Readiness' },
);
export type Readiness = Static<typeof ReadinessBody>;
