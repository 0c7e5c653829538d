// sluice services [NAMESPACE/NAME]: Services that this node forwards, or one with its frontends and backends.
import type {
  Backend,
  Counters,
  Service,
  ServiceDetail,
  ServicePage,
  ServicePortStatus,
} from '../api/bodies.ts';
import { SluiceError } from '../errors.ts';
import { joinHostPort } from '../net/hostport.ts';
import { formatBytes, formatCount, formatDuration, printable } from '../units.ts';
import { getJson, getPages } from './client.ts';
import { exitCodes } from './exit.ts';
import { json, printProblem, table, type Column } from './output.ts';
import type { ReadOptions, Terminal } from './terminal.ts';

interface PortRow extends ServicePortStatus {
  readonly namespace: string;
  readonly name: string;
}

export async function listServices({ api, output }: ReadOptions, { write }: Terminal): Promise<number> {
  const pages = await getPages<ServicePage>(api, '/v1/services', 'services', {});
  const services = pages.flatMap((page) => page.services);
  write(output === 'json' ? json({ services }) : printServices(services));
  return exitCodes.ok;
}

export async function showService(
  name: string,
  { api, output }: ReadOptions,
  { write }: Terminal,
): Promise<number> {
  const { namespace, service } = parseServiceName(name);
  const path = `/v1/services/${encodeURIComponent(namespace)}/${encodeURIComponent(service)}`;
  const detail = await getJson<ServiceDetail>(api, path, 'ports');
  write(output === 'json' ? json(detail) : printService(detail));
  return exitCodes.ok;
}

/** The argument NAMESPACE/NAME. Throws SLB_E_USAGE. */
export function parseServiceName(name: string): { readonly namespace: string; readonly service: string } {
  const [namespace = '', service = '', ...rest] = name.split('/');
  if (namespace !== '' && service !== '' && rest.length === 0) return { namespace, service };
  const example = /^[^/]+$/.test(name) ? `default/${name}` : 'default/web';
  throw new SluiceError(
    'SLB_E_USAGE',
    `"${printable(name)}" names no Service: write NAMESPACE/NAME, such as ${printable(example)}`,
  );
}

type Counted = Pick<Backend, 'counted' | 'counters'>;

/** A number, or nothing where the kernel has no row to count in. */
function counted(title: string, format: (counters: Counters) => string): Column<Counted> {
  return { title, cell: ({ counted, counters }) => (counted ? format(counters) : ''), right: true };
}

const traffic = [
  counted('CONNECTIONS', ({ connections }) => formatCount(connections)),
  counted('SOCKETS', ({ active }) => formatCount(active)),
  counted('IN', ({ bytesIn }) => formatBytes(bytesIn)),
  counted('OUT', ({ bytesOut }) => formatBytes(bytesOut)),
];

type Frontend = ServicePortStatus['frontends'][number];

/** A NodePort is at many addresses of the node: "*". */
function addressOf({ kind, address, port }: Frontend): string {
  return kind === 'NodePort' ? `*:${String(port)}` : joinHostPort(address, port);
}

export function printServices(services: readonly Service[]): string {
  const rows = services.flatMap(({ namespace, name, ports }) =>
    ports.map((port): PortRow => ({ ...port, namespace, name })),
  );
  return table(
    [
      { title: 'NAMESPACE', cell: ({ namespace }) => namespace },
      { title: 'NAME', cell: ({ name }) => name },
      { title: 'PORT', cell: ({ portName }) => portName },
      { title: 'PROTO', cell: ({ protocol }) => protocol },
      { title: 'FRONTENDS', cell: ({ frontends }) => frontends.map(addressOf).join(',') },
      { title: 'BACKENDS', cell: ({ backends }) => String(backends), right: true },
      ...traffic,
    ],
    rows,
    'no services',
  );
}

export function printService({ namespace, name, ports, backends, problems }: ServiceDetail): string {
  const several = new Set(ports.map(({ portName, protocol }) => `${portName}/${protocol}`)).size > 1;
  return [
    `${printable(`${namespace}/${name}`)}\n`,
    printPorts(ports),
    printFrontends(ports, several),
    ...printSources(ports),
    printBackends(backends, several),
    ...(problems.length === 0 ? [] : [problems.map(printProblem).join('')]),
  ].join('\n');
}

function printPorts(ports: readonly ServicePortStatus[]): string {
  return table(
    [
      { title: 'PORT', cell: ({ portName }) => portName },
      { title: 'PROTO', cell: ({ protocol }) => protocol },
      { title: 'FAMILY', cell: ({ family }) => family },
      {
        title: 'AFFINITY',
        cell: ({ affinitySec }) => (affinitySec === 0 ? '' : formatDuration(affinitySec)),
      },
      ...traffic,
      counted('REFUSED', ({ refused }) => formatCount(refused)),
    ],
    ports,
    'no ports',
  );
}

interface FrontendRow extends Frontend {
  readonly of: ServicePortStatus;
}

function printFrontends(ports: readonly ServicePortStatus[], several: boolean): string {
  const rows = ports.flatMap((of) => of.frontends.map((frontend): FrontendRow => ({ ...frontend, of })));
  const isLocal = ({ kind, of }: FrontendRow): boolean =>
    (kind === 'ClusterIP' ? of.internalTrafficPolicy : of.externalTrafficPolicy) === 'Local';
  return table(
    [
      ...(several ? [{ title: 'PORT', cell: ({ of }: FrontendRow) => of.portName }] : []),
      { title: 'FRONTEND', cell: addressOf },
      { title: 'TYPE', cell: ({ kind }) => kind },
      { title: 'POLICY', cell: (row) => (isLocal(row) ? 'Local' : 'Cluster') },
      {
        title: 'BACKENDS',
        cell: (row) =>
          isLocal(row) ? `${String(row.of.localBackends)} local` : String(row.of.clusterBackends),
      },
    ],
    rows,
    'no addresses',
  );
}

/** Source ranges of the Service, of both families. */
function printSources(ports: readonly ServicePortStatus[]): readonly string[] {
  const unite = (of: (port: ServicePortStatus) => readonly string[]): string =>
    [...new Set(ports.flatMap(of))].map(printable).join(', ');
  const allowed = unite(({ allowedSources }) => allowedSources);
  const denied = unite(({ deniedSources }) => deniedSources);
  const lines = [
    ...(allowed === '' ? [] : [`load balancer addresses: only from ${allowed}\n`]),
    ...(denied === '' ? [] : [`all but the cluster address: not from ${denied}\n`]),
  ];
  return lines.length === 0 ? [] : [lines.join('')];
}

/** Endpoints that are not ready receive new connections in two cases, which are not to be mistaken for `ready`. */
function describeState({ state, conditions: { serving, terminating } }: Backend): string {
  if (state !== 'ready') return state;
  if (terminating) return 'terminating, in use';
  return serving ? state : 'not ready, published';
}

function printBackends(backends: readonly Backend[], several: boolean): string {
  return table(
    [
      ...(several ? [{ title: 'PORT', cell: ({ portName }: Backend) => portName }] : []),
      { title: 'BACKEND', cell: ({ address, port }) => joinHostPort(address, port) },
      { title: 'STATE', cell: describeState },
      { title: 'NODE', cell: ({ local }) => (local ? 'local' : 'remote') },
      ...traffic,
    ],
    backends,
    'no backends: connections are rejected',
  );
}
