// load.c in namespaces: servers, and clients that take orders and answer with times.
import { execFileSync, type ChildProcess } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Machine } from '../test/support/lab/lab.ts';

export type Family = 4 | 6;

/** What load.c can be told to do, by its names. */
export type Work =
  'connection' | 'bulk' | 'connected' | 'unconnected' | 'connect' | 'socket' | 'sendto' | 'recvfrom';

/** Bytes that one piece of `bulk` is. */
export const chunkBytes = 65_536;

const root = fileURLToPath(new URL('../', import.meta.url));
const program = join(root, 'build/bench/load');

export function compileLoad(): void {
  mkdirSync(join(root, 'build/bench'), { recursive: true });
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, join(root, 'bench/load.c')]);
}

/** Answers at `port` until its namespace goes. */
export function serveLoad({ netns }: Machine, port: number): void {
  netns.spawn([program, 'serve', String(port)], { stdio: ['ignore', 'ignore', 2] }).unref();
}

export interface Order {
  readonly work: Work;
  readonly address: string;
  readonly port: number;
  readonly count: number;
}

const lineOf = ({ work, address, port, count }: Order): string =>
  `${work} ${address} ${String(port)} ${String(count)}\n`;

/** Whether an order can be carried out; a client that has failed once has ended. */
export async function canDo({ netns }: Machine, order: Order): Promise<boolean> {
  const { code } = await netns.run([program, 'work'], { input: lineOf(order), mayFail: true });
  return code === 0;
}

export class Client {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  /** `name` is for the error of an order that failed. */
  constructor(name: string, { netns }: Machine) {
    this.#name = name;
    this.#child = netns.spawn([program, 'work'], { stdio: ['pipe', 'pipe', 2] });
    if (this.#child.stdout === null) throw new Error('a child with a pipe has one');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  /** ns a piece. */
  order(order: Order): Promise<number> {
    return new Promise((resolve, reject) => {
      const failed = (): void => reject(new Error(`${this.#name}, ${lineOf(order).trim()}: failed`));
      this.#lines.once('close', failed);
      this.#lines.once('line', (line) => {
        this.#lines.off('close', failed);
        resolve(Number(line));
      });
      this.#child.stdin?.write(lineOf(order));
    });
  }

  close(): void {
    this.#child.stdin?.end();
  }
}

export const medianOf = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
