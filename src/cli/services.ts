// sluice services [NAMESPACE/NAME]: what is forwarded, and to whom.
import type { Backend, Service, ServiceDetail, ServicePage, ServicePortStatus } from '../api/bodies.ts';
import { SluiceError } from '../errors.ts';
import { formatBytes, formatCount, joinHostPort } from '../units.ts';
import { getJson, getPages } from './client.ts';
import { exitCodes } from './exit.ts';
import { json, table, type Column } from './output.ts';
import type { ReadOptions, Verb } from './verb.ts';

interface PortRow extends ServicePortStatus {
  readonly namespace: string;
  readonly name: string;
}

export async function listServices({ api, output }: ReadOptions, { write }: Verb): Promise<number> {
  const pages = await getPages<ServicePage>(api, '/v1/services', {});
  const services = pages.flatMap((page) => page.services);
  write(output === 'json' ? json({ services }) : printServices(services));
  return exitCodes.ok;
}

export async function showService(
  name: string,
  { api, output }: ReadOptions,
  { write }: Verb,
): Promise<number> {
  const [namespace, service, ...rest] = name.split('/');
  if (!namespace || !service || rest.length > 0) {
    throw new SluiceError('SLB_E_CONFIG', `"${name}" is not a service: use NAMESPACE/NAME`);
  }
  const path = `/v1/services/${encodeURIComponent(namespace)}/${encodeURIComponent(service)}`;
  const detail = await getJson<ServiceDetail>(api, path);
  write(output === 'json' ? json(detail) : printService(detail));
  return exitCodes.ok;
}

const traffic: readonly Column<{ counters: Backend['counters'] }>[] = [
  { title: 'CONNECTIONS', cell: ({ counters }) => formatCount(counters.connections), right: true },
  { title: 'IN', cell: ({ counters }) => formatBytes(counters.bytesIn), right: true },
  { title: 'OUT', cell: ({ counters }) => formatBytes(counters.bytesOut), right: true },
];

const portColumns: readonly Column<PortRow>[] = [
  { title: 'PORT', cell: ({ portName }) => portName },
  { title: 'PROTO', cell: ({ protocol }) => protocol },
  {
    title: 'ADDRESS',
    cell: ({ frontends }) => frontends.map(({ address, port }) => joinHostPort(address, port)).join(','),
  },
  { title: 'BACKENDS', cell: ({ backends }) => String(backends), right: true },
  ...traffic,
];

export function printServices(services: readonly Service[]): string {
  const rows = services.flatMap(({ namespace, name, ports }) =>
    ports.map((port): PortRow => ({ ...port, namespace, name })),
  );
  return table(
    [
      { title: 'NAMESPACE', cell: ({ namespace }) => namespace },
      { title: 'NAME', cell: ({ name }) => name },
      ...portColumns,
    ],
    rows,
    'no services',
  );
}

export function printService({ namespace, name, ports, backends }: ServiceDetail): string {
  const rows = ports.map((port): PortRow => ({ ...port, namespace, name }));
  const several = new Set(ports.map(({ portName, protocol }) => `${portName}/${protocol}`)).size > 1;
  const which: Column<Backend>[] = several ? [{ title: 'PORT', cell: ({ portName }) => portName }] : [];
  const backendTable = table(
    [
      ...which,
      { title: 'BACKEND', cell: ({ address, port }) => joinHostPort(address, port) },
      { title: 'STATE', cell: ({ state }) => state },
      { title: 'WHERE', cell: ({ local }) => (local ? 'here' : 'elsewhere') },
      ...traffic,
    ],
    backends,
    'no backends: connections are refused',
  );
  return `${namespace}/${name}\n\n${table(portColumns, rows, 'no ports')}\n${backendTable}`;
}
