// Long-lived connections of every kind that are kept talking while something is done to the agent: none may end, and
// none may reach another backend than it had.
import type { Test } from 'tap';
import type { Machine } from './lab.ts';

export interface Dial {
  /** For the report. */
  readonly name: string;
  readonly client: Machine;
  readonly host: string;
  readonly port: number;
  readonly localPort?: number;
}

/** What its server said when it began: its name, and the client that it sees. */
interface Begun {
  readonly server: string;
  readonly client: string;
}

interface Talk {
  readonly name: string;
  readonly begun: Begun;
  /** One exchange; undefined: a datagram was lost. */
  readonly exchange: (text: string) => Promise<Begun | undefined>;
  readonly end: () => Promise<void>;
}

export interface Report {
  readonly exchanges: number;
  /** Datagrams without an answer. */
  readonly lost: number;
  /** Of anything else than lost datagrams, by the name of the connection. */
  readonly faults: readonly string[];
}

const datagramMs = 1_000;
const pauseMs = 10;

async function openTcp({ name, client: { actor }, ...target }: Dial): Promise<Talk> {
  const { id, server, client } = await actor.call('open', target);
  const begun = { server, client };
  return {
    ...{ name: `${name} TCP`, begun },
    // The server has said who it is, and the same connection has no other.
    exchange: async (text) => {
      const said = await actor.call('ask', { id, text });
      if (said !== text) throw new Error(`said ${said} for ${text}`);
      return begun;
    },
    end: () => actor.call('shut', { id }),
  };
}

async function openUdp({ name, client: { actor }, ...target }: Dial): Promise<Talk> {
  const { id } = await actor.call('openUdp', target);
  const ask = async (text: string): Promise<Begun> => {
    const { server, client } = await actor.call('askUdp', { id, text, ms: datagramMs });
    return { server, client };
  };
  return {
    ...{ name: `${name} UDP`, begun: await ask('hello') },
    exchange: (text) =>
      ask(text).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ETIMEDOUT') return undefined;
        throw error;
      }),
    end: () => actor.call('shutUdp', { id }),
  };
}

export class Talks {
  readonly #talks: readonly Talk[];
  #stop = false;
  #running: Promise<unknown> = Promise.resolve();
  #report: { exchanges: number; lost: number; faults: string[] } = { exchanges: 0, lost: 0, faults: [] };

  private constructor(talks: readonly Talk[]) {
    this.#talks = talks;
  }

  static async open(dials: readonly Dial[]): Promise<Talks> {
    const talks: Talk[] = [];
    for (const dial of dials) talks.push(await openTcp(dial), await openUdp(dial));
    return new Talks(talks);
  }

  get begun(): readonly (Begun & { name: string })[] {
    return this.#talks.map(({ name, begun }) => ({ name, ...begun }));
  }

  /** Each of them talks, one exchange after another, until `rest`. */
  begin(): void {
    this.#stop = false;
    this.#report = { exchanges: 0, lost: 0, faults: [] };
    this.#running = Promise.all(this.#talks.map((talk) => this.#talkOn(talk)));
  }

  async rest(): Promise<Report> {
    this.#stop = true;
    await this.#running;
    return this.#report;
  }

  /** One exchange of each, which fails when another server answers than at first. */
  async check(t: Test, what: string): Promise<void> {
    this.begin();
    const { exchanges, faults } = await this.rest();
    t.strictSame(faults, [], `${what}: ${String(exchanges)} exchanges`);
  }

  async end(): Promise<void> {
    for (const talk of this.#talks) await talk.end();
  }

  async #talkOn({ name, begun, exchange }: Talk): Promise<void> {
    try {
      let n = 0;
      do {
        const found = await exchange(`${name} ${String(n++)}`);
        this.#report.exchanges++;
        if (found === undefined) this.#report.lost++;
        else if (found.server !== begun.server || found.client !== begun.client)
          this.#report.faults.push(`${name}: ${JSON.stringify(found)} instead of ${JSON.stringify(begun)}`);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      } while (!this.#stop);
    } catch (error) {
      this.#report.faults.push(`${name}: ${String(error)}`);
    }
  }
}
