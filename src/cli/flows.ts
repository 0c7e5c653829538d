// sluice flows: connections in the flow tables of the kernel.
import type { Flow, FlowPage } from '../api/bodies.ts';
import { joinHostPort } from '../net/hostport.ts';
import { formatDuration } from '../units.ts';
import { getPages } from './client.ts';
import { exitCodes } from './exit.ts';
import { json, table, type Column } from './output.ts';
import { parseServiceName } from './services.ts';
import type { ReadOptions, Terminal } from './terminal.ts';

const pageMax = 1_000;

export interface FlowOptions extends ReadOptions {
  readonly limit: number;
  readonly service?: string;
  readonly client?: string;
}

export async function listFlows(options: FlowOptions, { write }: Terminal): Promise<number> {
  const { flows, more } = await readFlows(options);
  if (options.output === 'json') {
    write(json({ flows, more }));
    return exitCodes.ok;
  }
  write(printFlows(flows));
  if (more)
    write(`there are more: raise --limit ${String(options.limit)}, or filter by --service or --client\n`);
  return exitCodes.ok;
}

/** A page of a filtered list may be short, or empty, without being the last. */
async function readFlows({
  api,
  limit,
  service,
  client,
}: FlowOptions): Promise<{ flows: Flow[]; more: boolean }> {
  if (service !== undefined) parseServiceName(service);
  const query = {
    limit: String(Math.min(pageMax, limit)),
    ...(service === undefined ? {} : { service }),
    ...(client === undefined ? {} : { client }),
  };
  const count = (pages: readonly FlowPage[]): number =>
    pages.reduce((sum, { flows }) => sum + flows.length, 0);
  const pages = await getPages<FlowPage>(api, '/v1/flows', 'flows', query, (all) => count(all) >= limit);
  const more = count(pages) > limit || pages.at(-1)?.cursor !== undefined;
  return { flows: pages.flatMap(({ flows }) => flows).slice(0, limit), more };
}

/** The source that the backend sees, where it is not the client. */
const snat: Column<Flow> = {
  title: 'SNAT',
  cell: ({ client, source }) =>
    client.address === source.address && client.port === source.port
      ? ''
      : joinHostPort(source.address, source.port),
};

/** A UDP socket may have no source address yet ("?"), or only a port. */
function clientOf({ client: { address, port } }: Flow): string {
  if (address !== '') return joinHostPort(address, port);
  return port === 0 ? '?' : `*:${String(port)}`;
}

export function printFlows(flows: readonly Flow[]): string {
  const changed = flows.some((flow) => snat.cell(flow) !== '');
  const pointed = flows.some(({ via }) => via === 'socket');
  return table(
    [
      { title: 'PROTO', cell: ({ protocol }) => protocol },
      ...(pointed ? [{ title: 'VIA', cell: ({ via }: Flow) => via }] : []),
      { title: 'CLIENT', cell: clientOf },
      {
        title: 'SERVICE',
        cell: ({ namespace, service }) => (service === '' ? 'gone' : `${namespace}/${service}`),
      },
      { title: 'FRONTEND', cell: ({ frontend }) => joinHostPort(frontend.address, frontend.port) },
      ...(changed ? [snat] : []),
      { title: 'BACKEND', cell: ({ backend }) => joinHostPort(backend.address, backend.port) },
      { title: 'STATE', cell: ({ state, hairpin }) => (hairpin ? `${state}, hairpin` : state) },
      { title: 'AGE', cell: ({ ageSec }) => formatDuration(ageSec), right: true },
      {
        title: 'IDLE',
        cell: ({ idleSec }) => (idleSec === undefined ? '' : formatDuration(idleSec)),
        right: true,
      },
    ],
    flows,
    'no flows',
  );
}
