// sluice flows: connections as the kernel tables hold them.
import type { Flow, FlowPage } from '../api/bodies.ts';
import { formatDuration, joinHostPort } from '../units.ts';
import { getJson } from './client.ts';
import { exitCodes } from './exit.ts';
import { json, table } from './output.ts';
import type { ReadOptions, Verb } from './verb.ts';

const pageMax = 1_000;

export interface FlowOptions extends ReadOptions {
  readonly limit: number;
  readonly service?: string;
  readonly client?: string;
}

export async function listFlows(options: FlowOptions, { write }: Verb): Promise<number> {
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

/** Follows the cursor until the limit; a filtered page may be short without being the last. */
async function readFlows({
  api,
  limit,
  service,
  client,
}: FlowOptions): Promise<{ flows: Flow[]; more: boolean }> {
  const flows: Flow[] = [];
  let cursor: string | undefined;
  do {
    const query = new URLSearchParams({ limit: String(Math.min(pageMax, limit - flows.length)) });
    for (const [name, value] of Object.entries({ service, client, cursor }))
      if (value !== undefined) query.set(name, value);
    const page: FlowPage = await getJson<FlowPage>(api, `/v1/flows?${query.toString()}`);
    flows.push(...page.flows);
    cursor = page.cursor;
  } while (cursor !== undefined && flows.length < limit);
  return { flows, more: cursor !== undefined };
}

export function printFlows(flows: readonly Flow[]): string {
  return table(
    [
      { title: 'PROTO', cell: ({ protocol }) => protocol },
      { title: 'CLIENT', cell: ({ client }) => joinHostPort(client.address, client.port) },
      {
        title: 'SERVICE',
        cell: ({ namespace, service }) => (service === '' ? 'gone' : `${namespace}/${service}`),
      },
      { title: 'ADDRESS', cell: ({ frontend }) => joinHostPort(frontend.address, frontend.port) },
      { title: 'BACKEND', cell: ({ backend }) => joinHostPort(backend.address, backend.port) },
      { title: 'STATE', cell: ({ state, hairpin }) => (hairpin ? `${state}, hairpin` : state) },
      { title: 'AGE', cell: ({ ageSec }) => formatDuration(ageSec), right: true },
      { title: 'IDLE', cell: ({ idleSec }) => formatDuration(idleSec), right: true },
    ],
    flows,
    'no flows',
  );
}
