// Asks what a table says, and puts the answers into its words.
import type { Answers, Question } from '../actors/probe.ts';
import { matrix, targetOf, type Cell, type MatrixService } from './matrix.ts';
import { nodeAddresses, type MachineName, type TwoNodes } from './twonodes.ts';
import type { Machine } from './lab.ts';

const protocols = ['TCP', 'UDP'] as const;
const families = ['v4', 'v6'] as const;
/** Silence is listened to only as long as one must; an answer may come late on a busy machine. */
const silenceMs = 400;
const answerMs = 5_000;

/** One range for each client, so that no two clients of one backend have the same behind a node. */
export const udpPorts: Readonly<Record<MachineName, number>> = {
  pod1: 2_000,
  pod2: 9_000,
  one: 16_000,
  two: 18_000,
  far: 20_000,
  host1: 40_000,
  host2: 47_000,
  out: 54_000,
};

export interface Row extends Cell {
  readonly service: string;
  /** e.g. "both Local Local, node1 from pod2, TCP v6" */
  readonly name: string;
  readonly found: string;
}

/** The servers that an expectation names. */
export function serversIn(expected: string): string[] {
  if (expected === 'silence' || expected === 'refused') return [];
  return expected.split(', ').flatMap((part) => (part.split(' ')[0] ?? '').split('+'));
}

/**
 * How to ask so that the expectation is put to the test: often enough to see every server, and any that must not be
 * there.
 */
export function effort(expected: string): Pick<Question, 'servers' | 'least' | 'most' | 'ms'> {
  const servers = serversIn(expected);
  const least = expected === 'silence' ? 1 : expected === 'refused' ? 2 : 5;
  return {
    servers,
    least,
    most: servers.length ** 2 + 30,
    ms: expected === 'silence' ? silenceMs : answerMs,
  };
}

/** What a client saw, in the words of the table. */
export function wording(answers: Answers, nameOf: (address: string) => string): string {
  const bySource = new Map<string, Set<string>>();
  const errors = new Set<string>();
  for (const outcome of Object.keys(answers)) {
    const [server = '', address] = outcome.split(' ');
    if (address === undefined) errors.add(errorWord(server));
    else bySource.set(nameOf(address), (bySource.get(nameOf(address)) ?? new Set()).add(server));
  }
  const seen = [...bySource].map(([source, servers]) => `${[...servers].sort().join('+')} ${source}`);
  return [...seen.sort(), ...[...errors].sort()].join(', ');
}

const errorWord = (code: string): string =>
  code === 'ECONNREFUSED' ? 'refused' : code === 'ETIMEDOUT' ? 'silence' : code;

/** Names addresses as the table does. A client's own is `kept`, unless it is a node's. */
export async function namer(nodes: TwoNodes): Promise<(client: Machine) => (address: string) => string> {
  const owners = await nodeAddresses(nodes);
  return (client) => (address) =>
    owners.get(address) ?? ([client.v4, client.v6, '127.0.0.1', '::1'].includes(address) ? 'kept' : address);
}

type Wanted = (service: MatrixService, cell: Cell) => boolean;

export interface Asking {
  readonly wanted?: Wanted;
  /** Where the table does not hold word for word. */
  readonly expect?: (cell: Cell) => string;
}

async function askClient(
  nodes: TwoNodes,
  client: MachineName,
  { wanted = () => true, expect = ({ expected }) => expected }: Asking,
): Promise<Row[]> {
  const machine = nodes.machines[client];
  const rows: Omit<Row, 'found'>[] = [];
  const questions: Question[] = [];
  const add = (service: MatrixService, cell: Cell): void => {
    for (const protocol of protocols) {
      for (const family of families) {
        const { state, internal, external } = service;
        const name = `${state} ${internal} ${external}, ${cell.frontend} from ${client}, ${protocol} ${family}`;
        const expected = expect(cell);
        rows.push({ ...cell, expected, service: service.name, name });
        questions.push({
          ...targetOf(nodes, service, cell.frontend, family),
          protocol,
          ...effort(expected),
        });
      }
    }
  };
  for (const service of matrix)
    for (const cell of service.cells) if (cell.client === client && wanted(service, cell)) add(service, cell);
  const answers = await machine.actor.call('probe', { questions, firstUdpPort: udpPorts[client] });
  const nameOf = (await namer(nodes))(machine);
  return rows.map((row, i) => ({ ...row, found: wording(answers[i] ?? {}, nameOf) }));
}

/** Every wanted row of the table over TCP and UDP, IPv4 and IPv6; one client after the other. */
export async function askMatrix(nodes: TwoNodes, asking: Asking = {}): Promise<Row[]> {
  const rows: Row[] = [];
  for (const client of ['pod1', 'host1', 'pod2', 'host2', 'out'] as const)
    rows.push(...(await askClient(nodes, client, asking)));
  return rows;
}
