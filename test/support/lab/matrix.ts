// The traffic table of service proxies, row by row: which endpoints answer each client, and which source they see.
//
// Columns are clients; a cell says "servers source". The source is `kept` (the client's own address) or the node that
// put its own in place; a host's own address is its node's, and 127.0.0.1 and ::1 are kept among a host's own
// processes. `refused` is an error at once, `silence` none at all.
import { servicePort } from './echo.ts';
import { serviceDocument, sliceDocuments, type Policy, type SliceEndpoint } from '../kube/manifests.ts';
import { backendPort, endpointsAt, type Condition, type MachineName, type TwoNodes } from './twonodes.ts';

const clients = ['pod1', 'host1', 'pod2', 'host2', 'out'] as const satisfies readonly MachineName[];
type Client = (typeof clients)[number];

/**
 * How a service is dialled. `external` is routed to node1 and `balancer` to node2 for those that have no proxy of
 * their own.
 */
export type Frontend = 'cluster' | 'node1' | 'node2' | 'external' | 'balancer' | 'localhost';

type Endpoints = Readonly<Partial<Record<MachineName, Condition>>>;

const states: Readonly<Record<string, Endpoints>> = {
  both: { one: 'ready', two: 'ready' },
  remote: { two: 'ready' }, // as node1 sees it; from node2 the same endpoint is local
  draining: { one: 'terminating', two: 'ready' },
  ending: { one: 'terminating' },
  unready: { one: 'unready', two: 'unready' },
  none: {},
  hosts: { host1: 'ready', host2: 'ready' }, // pods of hostNetwork
  elsewhere: { far: 'ready' }, // made by hand, on no node
};

/** One block a service: its state and internal/external policy, then a line a frontend, then a cell a client. */
const table = `
both Cluster Cluster
            pod1               | host1               | pod2                | host2               | out
  cluster   one+two kept       | one+two node1       | one+two kept        | one+two node2       | one+two node1
  node1     one+two node1      | one+two node1       | one+two node1       | one+two node1       | one+two node1
  node2     one+two node2      | one+two node2       | one+two node2       | one+two node2       | one+two node2
  external  one+two node1      | one+two node1       | one+two node2       | one+two node2       | one+two node1
  balancer  one+two node1      | one+two node1       | one+two node2       | one+two node2       | one+two node2
  localhost -                  | one+two node1       | -                   | one+two node2       | -
both Local Local
  cluster   one kept           | one node1           | two kept            | two node2           | one node1
  node1     one+two kept       | one+two node1       | one kept            | one node2           | one kept
  node2     two kept           | two node1           | one+two kept        | one+two node2       | two kept
  external  one+two kept       | one+two node1       | one+two kept        | one+two node2       | one kept
  balancer  one+two kept       | one+two node1       | one+two kept        | one+two node2       | two kept
  localhost -                  | one+two node1       | -                   | one+two node2       | -
both Cluster Local
  cluster   one+two kept       | one+two node1       | one+two kept        | one+two node2       | one+two node1
  node1     one+two kept       | one+two node1       | one kept            | one node2           | one kept
  balancer  one+two kept       | one+two node1       | one+two kept        | one+two node2       | two kept
both Local Cluster
  cluster   one kept           | one node1           | two kept            | two node2           | one node1
  node1     one+two node1      | one+two node1       | one+two node1       | one+two node1       | one+two node1
  balancer  one+two node1      | one+two node1       | one+two node2       | one+two node2       | one+two node2
remote Cluster Cluster
  cluster   two kept           | two node1           | two kept            | two node2           | two node1
  node1     two node1          | two node1           | two node1           | two node1           | two node1
  node2     two node2          | two node2           | two node2           | two node2           | two node2
  external  two node1          | two node1           | two node2           | two node2           | two node1
  balancer  two node1          | two node1           | two node2           | two node2           | two node2
  localhost -                  | two node1           | -                   | two node2           | -
remote Local Local
  cluster   silence            | silence             | two kept            | two node2           | silence
  node1     two kept           | two node1           | silence             | silence             | silence
  node2     two kept           | two node1           | two kept            | two node2           | two kept
  external  two kept           | two node1           | two kept            | two node2           | silence
  balancer  two kept           | two node1           | two kept            | two node2           | two kept
  localhost -                  | two node1           | -                   | two node2           | -
draining Cluster Cluster
  cluster   two kept           | two node1           | two kept            | two node2           | two node1
  node1     two node1          | two node1           | two node1           | two node1           | two node1
  external  two node1          | two node1           | two node2           | two node2           | two node1
  balancer  two node1          | two node1           | two node2           | two node2           | two node2
draining Local Local
  cluster   one kept           | one node1           | two kept            | two node2           | one node1
  node1     two kept           | two node1           | one kept            | one node2           | one kept
  node2     two kept           | two node1           | two kept            | two node2           | two kept
  external  two kept           | two node1           | two kept            | two node2           | one kept
  balancer  two kept           | two node1           | two kept            | two node2           | two kept
ending Cluster Cluster
  cluster   one kept           | one node1           | one kept            | one node2           | one node1
  node2     one node2          | one node2           | one node2           | one node2           | one node2
  external  one node1          | one node1           | one node2           | one node2           | one node1
  balancer  one node1          | one node1           | one node2           | one node2           | one node2
ending Local Local
  cluster   one kept           | one node1           | silence             | silence             | one node1
  node1     one kept           | one node1           | one kept            | one node2           | one kept
  node2     silence            | silence             | one kept            | one node2           | silence
  external  one kept           | one node1           | one kept            | one node2           | one kept
  balancer  one kept           | one node1           | one kept            | one node2           | silence
unready Cluster Cluster
  cluster   refused            | refused             | refused             | refused             | refused
  node1     refused            | refused             | refused             | refused             | refused
  external  refused            | refused             | refused             | refused             | refused
  balancer  refused            | refused             | refused             | refused             | refused
  localhost -                  | refused             | -                   | refused             | -
unready Local Local
  cluster   refused            | refused             | refused             | refused             | refused
  node1     refused            | refused             | refused             | refused             | refused
  external  refused            | refused             | refused             | refused             | refused
none Cluster Cluster
  cluster   refused            | refused             | refused             | refused             | refused
  node2     refused            | refused             | refused             | refused             | refused
  balancer  refused            | refused             | refused             | refused             | refused
none Local Local
  cluster   refused            | refused             | refused             | refused             | refused
  node1     refused            | refused             | refused             | refused             | refused
  external  refused            | refused             | refused             | refused             | refused
  balancer  refused            | refused             | refused             | refused             | refused
hosts Cluster Cluster
  cluster   host1+host2 kept   | host1+host2 node1   | host1+host2 kept    | host1+host2 node2   | host1 kept, host2 node1
  node1     host1 kept, host2 node1 | host1+host2 node1 | host1 kept, host2 node1 | host1 node2, host2 node1 | host1 kept, host2 node1
  external  host1 kept, host2 node1 | host1+host2 node1 | host1 node2, host2 kept | host1+host2 node2 | host1 kept, host2 node1
  localhost -                  | host1 kept, host2 node1 | -               | host1 node2, host2 kept | -
hosts Local Local
  cluster   host1 kept         | host1 node1         | host2 kept          | host2 node2         | host1 kept
  node1     host1+host2 kept   | host1+host2 node1   | host1 kept          | host1 node2         | host1 kept
  balancer  host1+host2 kept   | host1+host2 node1   | host1+host2 kept    | host1+host2 node2   | host2 kept
elsewhere Cluster Cluster
  cluster   far kept           | far node1           | far kept            | far node2           | far node1
  node1     far node1          | far node1           | far node1           | far node1           | far node1
  external  far node1          | far node1           | far node2           | far node2           | far node1
elsewhere Local Local
  cluster   silence            | silence             | silence             | silence             | silence
  node1     far kept           | far node1           | silence             | silence             | silence
  external  far kept           | far node1           | far kept            | far node2           | silence
`;

export interface Cell {
  readonly frontend: Frontend;
  readonly client: Client;
  readonly expected: string;
}

export interface MatrixService {
  readonly name: string;
  readonly state: string;
  readonly internal: Policy;
  readonly external: Policy;
  /** Where in every range of addresses and ports the service is. */
  readonly n: number;
  readonly cells: readonly Cell[];
}

function parseLine(line: string): Cell[] {
  const [, frontend = '', cells = ''] = /^ {2}(\w+)\s+(.*)$/.exec(line) ?? [];
  const texts = cells.split('|').map((text) => text.trim());
  if (texts.length !== clients.length) throw new Error(`not a row of the table: ${line}`);
  return clients.flatMap((client, i) => {
    const expected = texts[i] ?? '';
    return expected === '-' ? [] : [{ frontend: frontend as Frontend, client, expected }];
  });
}

function parseTable(): MatrixService[] {
  const blocks = table.trim().split(/\n(?=\S)/);
  return blocks.map((block, i) => {
    const [head = '', ...lines] = block.split('\n').filter((line) => !/^ {12}pod1/.test(line));
    const [state = '', internal = '', external = ''] = head.split(' ');
    return {
      name: `${state}-${internal}-${external}`.toLowerCase(),
      state,
      internal: internal as Policy,
      external: external as Policy,
      n: i + 1,
      cells: lines.flatMap(parseLine),
    };
  });
}

export const matrix: readonly MatrixService[] = parseTable();

type Family = 'v4' | 'v6';

/** The nth service of the lab: its cluster address, one that is routed to node1, and one that is routed to node2. */
export function addressesOf(
  n: number,
): Readonly<Record<'cluster' | 'external' | 'balancer', Record<Family, string>>> {
  return {
    cluster: { v4: `10.96.1.${String(n)}`, v6: `fd00:96::${(0x100 + n).toString(16)}` },
    external: { v4: `172.30.1.${String(n)}`, v6: `fd00:30:1::${n.toString(16)}` },
    balancer: { v4: `172.30.2.${String(n)}`, v6: `fd00:30:2::${n.toString(16)}` },
  };
}

export const nodePortOf = (n: number): number => 31_000 + n;

/** Where a client finds a frontend of a service. */
export function targetOf(
  { node1, node2 }: TwoNodes,
  { n }: MatrixService,
  frontend: Frontend,
  family: Family,
): { host: string; port: number } {
  switch (frontend) {
    case 'node1':
      return { host: node1[family], port: nodePortOf(n) };
    case 'node2':
      return { host: node2[family], port: nodePortOf(n) };
    case 'localhost':
      return { host: family === 'v4' ? '127.0.0.1' : '::1', port: nodePortOf(n) };
    default:
      return { host: addressesOf(n)[frontend][family], port: servicePort };
  }
}

/** The service and its slices, with every sort of frontend. */
export function matrixDocuments(nodes: TwoNodes, service: MatrixService): object[] {
  const { name, n, internal, external } = service;
  const { cluster, external: externalIP, balancer } = addressesOf(n);
  const port = (
    protocol: 'TCP' | 'UDP',
    number: number,
  ): { name: string; protocol: typeof protocol; port: number } => ({
    name: protocol.toLowerCase(),
    protocol,
    port: number,
  });
  const endpoints: SliceEndpoint[] = endpointsAt(nodes, states[service.state] ?? {});
  return [
    serviceDocument({
      name,
      type: 'LoadBalancer',
      clusterIPs: [cluster.v4, cluster.v6],
      externalIPs: [externalIP.v4, externalIP.v6],
      ingress: [{ ip: balancer.v4 }, { ip: balancer.v6 }],
      internalTrafficPolicy: internal,
      externalTrafficPolicy: external,
      ...(external === 'Local' ? { healthCheckNodePort: 32_000 + n } : {}),
      ports: (['TCP', 'UDP'] as const).map((p) => ({ ...port(p, servicePort), nodePort: nodePortOf(n) })),
    }),
    ...sliceDocuments({
      service: name,
      endpoints,
      ports: [port('TCP', backendPort), port('UDP', backendPort)],
    }),
  ];
}
