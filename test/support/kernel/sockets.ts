// Real sockets of every sort in a namespace of the lab, to be ended from without: their cookies, and what became of
// them.
import { type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Netns } from '../actors/netns.ts';
import { end } from '../run/process.ts';

const script = fileURLToPath(new URL('sockets.py', import.meta.url));

export type SocketName =
  'udp4' | 'bound udp4' | 'udp6' | 'mapped' | 'tcp4' | 'tcp6' | 'other udp4' | 'other tcp4';

/** Names of errors of the next receive and the next send; "done" for none. */
type Outcome = readonly [receive: string, send: string];

export class Sockets {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #cookies: Partial<Record<SocketName, string>> = {};

  private constructor(child: ChildProcess, lines: AsyncIterator<string>) {
    this.#child = child;
    this.#lines = lines;
  }

  static async open(netns: Netns): Promise<Sockets> {
    const child = netns.spawn(['python3', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (child.stdout === null) throw new Error('no stdout');
    const sockets = new Sockets(child, createInterface(child.stdout)[Symbol.asyncIterator]());
    sockets.#cookies = await sockets.#read<Record<SocketName, string>>();
    return sockets;
  }

  cookies(...names: readonly SocketName[]): BigUint64Array {
    return BigUint64Array.from(names, (name) => BigInt(this.#cookies[name] ?? 0));
  }

  outcomes(): Promise<Readonly<Record<SocketName, Outcome>>> {
    this.#child.stdin?.write('\n');
    return this.#read();
  }

  close(): Promise<void> {
    return end(this.#child);
  }

  async #read<T>(): Promise<T> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('sockets.py has ended');
    return JSON.parse(line.value) as T;
  }
}
