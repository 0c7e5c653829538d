// A DNS client whose sockets stay open, driven one system call at a time; see dnsask.py.
import { type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Netns } from '../actors/netns.ts';
import { end } from '../run/process.ts';

const script = fileURLToPath(new URL('dnsask.py', import.meta.url));

export type Place = readonly [address: string, port: number];

export interface Socket {
  readonly type: 'udp' | 'tcp';
  readonly family: 4 | 6;
  readonly bind?: Place;
  readonly connect?: Place;
}

interface Answer {
  readonly from: string; // the sender of the answer, as the program is told
  readonly server: string;
}

export class DnsClient {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #serial = 0;

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  static start(netns: Netns): DnsClient {
    const child = netns.spawn(['python3', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('no stdout');
    return new DnsClient(child, createInterface(child.stdout)[Symbol.asyncIterator]());
  }

  /** Answers its name, and the peer that it is told to have. */
  async open(socket: Socket): Promise<{ name: string; peer: Place | null }> {
    const name = `socket ${String(++this.#serial)}`;
    return { name, ...(await this.#command<{ peer: Place | null }>({ open: name, ...socket })) };
  }

  /** The answers by their sender; without places, those of the peer. */
  async ask(name: string, ...to: readonly Place[]): Promise<Record<string, string>> {
    const question = { ask: name, ...(to.length === 0 ? {} : { to }) };
    const { answers } = await this.#command<{ answers: readonly Answer[] }>(question);
    return Object.fromEntries(answers.map(({ from, server }) => [from, server]));
  }

  async peer(name: string): Promise<Place> {
    return (await this.#command<{ peer: Place }>({ peer: name })).peer;
  }

  async close(name: string): Promise<void> {
    await this.#command({ close: name });
  }

  stop(): Promise<void> {
    return end(this.#child);
  }

  async #command<T>(command: object): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('dnsask.py has ended');
    const result = JSON.parse(line.value) as T & { error?: string };
    if (result.error === undefined) return result;
    throw Object.assign(new Error(`${result.error}: ${JSON.stringify(command)}`), { code: result.error });
  }
}
