// What the tests of namespaces have in common: echo servers behind a service, and what must hold of their tallies.
import type { Status } from '../../../src/api/bodies.ts';
import type { Tally } from '../actors/tcp.ts';
import type { Agent } from './agent.ts';
import type { Machine } from './lab.ts';
import { serviceDocument, sliceDocuments, type SliceEndpoint } from '../kube/manifests.ts';

export const echoPort = 8080;
export const servicePort = 80;

/** TCP and UDP echo servers on the same port, named after their machine. */
export async function serveEcho(machines: readonly Machine[]): Promise<void> {
  for (const { actor, name } of machines) {
    await actor.call('serve', { port: echoPort, name });
    await actor.call('serveUdp', { port: echoPort, name });
  }
}

export const bothAddresses = (machines: readonly Machine[]): SliceEndpoint[] =>
  machines.flatMap(({ v4, v6 }) => [{ address: v4 }, { address: v6 }]);

/** Of a service, or of its slices. */
export const echoPorts = (port: number): { name: string; protocol: 'TCP' | 'UDP'; port: number }[] => [
  { name: 'tcp', protocol: 'TCP', port },
  { name: 'udp', protocol: 'UDP', port },
];

export interface EchoService {
  readonly name: string;
  readonly v4: string;
  readonly v6: string;
}

/** The nth echo service of a lab: TCP and UDP, both families. */
export const echoService = (name: string, n: number): EchoService => ({
  name,
  v4: `10.96.0.${String(n)}`,
  v6: `fd00:96::${n.toString(16)}`,
});

export function echoDocuments(service: EchoService, endpoints: readonly SliceEndpoint[]): object[] {
  const { name, v4, v6 } = service;
  return [
    serviceDocument({ name, clusterIPs: [v4, v6], ports: echoPorts(servicePort) }),
    ...sliceDocuments({ service: name, endpoints, ports: echoPorts(echoPort) }),
  ];
}

/** What failed, and how many exchanges whose server saw another client than there was. */
export const faults = ({ errors, foreign }: Tally): object => ({ errors, foreign });
export const noFaults = { errors: {}, foreign: 0 };
/**
 * The same from outside to a cluster address: none of so many exchanges failed, and no server saw its client (S-63).
 */
export const seenAsNode = (exchanges: number): object => ({ errors: {}, foreign: exchanges });

/** The largest distance of a server's count from its even share, as a part of that share. */
export function unevenness({ servers }: Tally, names: readonly string[]): number {
  const counts = names.map((name) => servers[name] ?? 0);
  const share = counts.reduce((sum, value) => sum + value, 0) / names.length;
  return Math.max(...counts.map((value) => Math.abs(value / share - 1)));
}

/** Packets by verdict, summed over hooks or of one hook. */
export async function verdicts(agent: Agent, hook?: string): Promise<Record<string, number>> {
  const status = await agent.json<Status>('/v1/status');
  const counts: Record<string, number> = {};
  for (const row of status.verdicts) {
    if (hook === undefined || row.hook === hook)
      counts[row.verdict] = (counts[row.verdict] ?? 0) + row.packets;
  }
  return counts;
}

export const dropped = (counts: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).filter(([name, packets]) => /drop/i.test(name) && packets > 0));
