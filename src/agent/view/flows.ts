// Flows, the entries of the connection tables, as the REST API shows them.
import type { Flow, FlowPage, FlowQuery } from '../../api/bodies.ts';
import type { Paged } from '../../api/view.ts';
import { SluiceError } from '../../errors.ts';
import type { FlowEntry } from '../../maps/flowrows.ts';
import type { ServicePort } from '../../model/types.ts';
import { canonicalAddress } from '../../net/ip.ts';
import type { Components } from './components.ts';

/** One page of flows. Throws SLB_E_API for a client that is no IP address, or a cursor that no page handed out. */
export function flowPage({ plane }: Pick<Components, 'plane'>, query: Paged<FlowQuery>): FlowPage {
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
