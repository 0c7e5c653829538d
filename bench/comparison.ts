// Who dials what, and the same work by all of them in turns.
import { beginning } from '../test/support/run/heartbeat.ts';
import { Client, medianOf, type Family, type Work } from './load.ts';
import { directPort, serviceAddress, servicePort } from './objects.ts';
import { farService, nearService, type Topology, type TopologyName, type Topologies } from './topologies.ts';

/** A topology, and whether a pod is dialled there by its own address or by a service's. */
export type Contender = 'none pod' | `${Exclude<TopologyName, 'none'>} ${'pod' | 'service'}`;

/** What the others are compared with: the same pods beside an agent with hooks, without a service. */
export const ceiling: Contender = 'hooks pod';

export interface Road {
  readonly name: string;
  readonly from: 'neighbour' | 'routed' | 'host';
  /** `own`: the client's address, where nothing leaves the pod. */
  readonly to: 'server' | 'far' | 'own';
}

export interface Score {
  /** ns a piece, median of the rounds. */
  readonly ns: number;
  /** How fast beside the ceiling, paired in every round: median and quartiles. 1: as fast. */
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

export interface Figure {
  readonly work: Work;
  readonly road: string;
  readonly family: Family;
  /** Services that there are. */
  readonly services: number;
  readonly scores: Readonly<Partial<Record<Contender, Score>>>;
}

export interface Plan {
  readonly rounds: number;
  /** Pieces of a turn. */
  readonly pieces: Readonly<Record<Work, number>>;
}

export function topologyOf(contender: Contender): TopologyName {
  return contender.slice(0, contender.indexOf(' ')) as TopologyName;
}

function target({ machines }: Topology, contender: Contender, { from, to }: Road, family: Family) {
  if (contender.endsWith('pod')) {
    const { v4, v6 } = to === 'own' ? machines[from] : machines[to];
    return { address: family === 4 ? v4 : v6, port: directPort };
  }
  const service = to === 'far' ? farService : nearService;
  return { address: serviceAddress(service, family), port: servicePort };
}

const rounded = (value: number): number => Number(value.toFixed(3));

function score(own: readonly number[], best: readonly number[]): Score {
  const ratios = own.map((ns, round) => (best[round] ?? NaN) / ns).sort((a, b) => a - b);
  const at = (part: number): number => rounded(ratios[Math.floor(ratios.length * part)] ?? NaN);
  return { ns: Math.round(medianOf(own)), ratio: at(0.5), low: at(0.25), high: at(0.75) };
}

export class Comparison {
  readonly #topologies: Topologies;
  readonly #plan: Plan;
  readonly #clients = new Map<string, Client>();

  constructor(topologies: Topologies, plan: Plan) {
    this.#topologies = topologies;
    this.#plan = plan;
  }

  /** ns a piece. */
  turn(contender: Contender, work: Work, road: Road, family: Family): Promise<number> {
    const topology = this.#topologies.get(topologyOf(contender));
    const { address, port } = target(topology, contender, road, family);
    return this.#client(topology, road.from).order({ work, address, port, count: this.#plan.pieces[work] });
  }

  /** Every work on every road in both families. */
  async figures(
    works: readonly Work[],
    roads: readonly Road[],
    contenders: readonly Contender[],
  ): Promise<Figure[]> {
    const figures: Figure[] = [];
    for (const road of roads)
      for (const family of [4, 6] as const)
        for (const work of works) figures.push(await this.#figure(work, road, family, contenders));
    return figures;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  async #figure(work: Work, road: Road, family: Family, contenders: readonly Contender[]): Promise<Figure> {
    beginning(
      `bench: sockets, ${work}, ${road.name}, IPv${String(family)}, of ${String(this.#topologies.services)} services`,
      1800,
    );
    const seen = contenders.map((contender) => ({ contender, all: [] as number[] }));
    for (let round = 0; round < this.#plan.rounds; round++) {
      // Another one begins each round: so that no contender profits from what came before.
      const first = round % seen.length;
      for (const { contender, all } of [...seen.slice(first), ...seen.slice(0, first)])
        all.push(await this.turn(contender, work, road, family));
    }
    const best = seen.find(({ contender }) => contender === ceiling)?.all ?? [];
    const scores = Object.fromEntries(seen.map(({ contender, all }) => [contender, score(all, best)]));
    return { work, road: road.name, family, services: this.#topologies.services, scores };
  }

  #client(topology: Topology, machine: Road['from']): Client {
    const key = `${topology.name} ${machine}`;
    const client = this.#clients.get(key) ?? new Client(key, topology.machines[machine]);
    this.#clients.set(key, client);
    return client;
  }
}
