// Real sockets of another process, call by call: what a program would be told, errors included. syscalls.py makes the
// calls.
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Netns } from '../actors/netns.ts';
import { end as endOf } from '../packet/addresses.ts';
import { end } from '../run/process.ts';
import { familyOf } from '../../../src/net/ip.ts';

const script = fileURLToPath(new URL('syscalls.py', import.meta.url));

export type SocketKind = 'tcp' | 'udp' | 'mptcp' | 'udplite' | 'ping' | 'ping6' | 'raw';

export interface OpenOptions {
  readonly bind?: readonly [address: string, port: number];
  readonly device?: string; // SO_BINDTODEVICE
  readonly nonblocking?: boolean;
}

interface Reply {
  readonly result?: unknown;
  readonly errno?: string;
}

type Name = readonly [address: string, port: number];
const text = (name: Name): string => endOf(...name);

export class Caller {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string, undefined>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error('no python3');
    this.#child = child;
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  }

  /** Where this process is, or in a namespace of the lab. */
  static start(netns?: Netns): Caller {
    const command = ['python3', script];
    const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit'];
    return new Caller(netns?.spawn(command, { stdio }) ?? spawn(command[0]!, command.slice(1), { stdio }));
  }

  /** One at a time: the next is made when the last has ended. Fails as the call does, with its code. */
  call<T = undefined>(verb: string, args: object = {}): Promise<T> {
    const made = this.#last.then(async () => {
      this.#child.stdin?.write(`${JSON.stringify({ verb, ...args })}\n`);
      const line = await this.#lines.next();
      if (line.done === true) throw new Error(`syscalls.py has ended at ${verb}`);
      const { result, errno } = JSON.parse(line.value) as Reply;
      if (errno !== undefined) throw Object.assign(new Error(`${verb}: ${errno}`), { code: errno });
      return result as T;
    });
    this.#last = made.catch(() => undefined);
    return made;
  }

  async open(family: 4 | 6, kind: SocketKind, options: OpenOptions = {}): Promise<Sock> {
    const fd = await this.call<number>('open', { family, kind, ...options });
    return new Sock(this, fd, BigInt(await this.call<string>('cookie', { fd })));
  }

  /** So many sockets, connected and closed one after the other. */
  async churn(
    kind: SocketKind,
    times: number,
    service: { readonly address: string; readonly port: number },
    options: Pick<OpenOptions, 'bind'> = {},
  ): Promise<void> {
    const { address, port } = service;
    const family = familyOf(address);
    await this.call('churn', { family, kind, address, port, times, ...options });
  }

  /** Whether this kernel has such sockets. */
  async has(family: 4 | 6, kind: SocketKind): Promise<boolean> {
    try {
      await (await this.open(family, kind)).close();
      return true;
    } catch {
      return false;
    }
  }

  async move(cgroup: string): Promise<void> {
    await this.call('move', { cgroup });
  }

  /** Another process that has all the sockets too; ends it. */
  async fork(): Promise<() => Promise<void>> {
    const pid = await this.call<number>('fork');
    return () => this.call('end', { pid });
  }

  /** SIGKILL: the kernel closes what it had. */
  kill(): Promise<void> {
    return end(this.#child, 'SIGKILL');
  }
}

/** A descriptor of a socket. What may fail is answered as "done" or the name of the error. */
export class Sock {
  readonly #caller: Caller;
  readonly #fd: number;
  readonly cookie: bigint;

  constructor(caller: Caller, fd: number, cookie: bigint) {
    this.#caller = caller;
    this.#fd = fd;
    this.cookie = cookie;
  }

  connect(address: string, port: number): Promise<string> {
    return this.#outcome('connect', { address, port });
  }

  /** connect() to AF_UNSPEC. */
  disconnect(): Promise<string> {
    return this.#outcome('connect', { address: '' });
  }

  send(data = 'x'): Promise<string> {
    return this.#outcome('send', { text: data });
  }

  sendTo(address: string, port: number, more: { text?: string; fastopen?: boolean } = {}): Promise<string> {
    return this.#outcome('sendto', { address, port, ...more });
  }

  /** With the address in a control message that it is to come from. */
  sendFrom(source: string, address: string, port: number): Promise<string> {
    return this.#outcome('sendfrom', { source, address, port });
  }

  /** "text from address:port", as recvfrom() tells; or the error. */
  async receive(): Promise<string> {
    try {
      const got = await this.#call<{ text: string; from: Name | null }>('receive');
      return `${got.text} from ${got.from === null ? 'its peer' : text(got.from)}`;
    } catch (error) {
      return codeOf(error);
    }
  }

  drain(length: number): Promise<number> {
    return this.#call('drain', { length });
  }

  async peer(): Promise<string> {
    try {
      return text(await this.#call<Name>('peer'));
    } catch (error) {
      return codeOf(error);
    }
  }

  async own(): Promise<string> {
    return text(await this.#call<Name>('own'));
  }

  /** SO_ERROR: what has become of a connect that did not wait. */
  error(): Promise<string> {
    return this.#call('error');
  }

  listen(): Promise<void> {
    return this.#call('listen');
  }

  async accept(): Promise<Sock> {
    return new Sock(this.#caller, await this.#call<number>('accept'), 0n);
  }

  async dup(): Promise<Sock> {
    return new Sock(this.#caller, await this.#call<number>('dup'), this.cookie);
  }

  close(): Promise<void> {
    return this.#call('close');
  }

  #call<T = undefined>(verb: string, args: object = {}): Promise<T> {
    return this.#caller.call<T>(verb, { fd: this.#fd, ...args });
  }

  async #outcome(verb: string, args: object): Promise<string> {
    try {
      await this.#call(verb, args);
      return 'done';
    } catch (error) {
      return codeOf(error);
    }
  }
}

/** Of a call that the kernel refused; anything else is not for a test to expect. */
function codeOf(error: unknown): string {
  const { code } = error as { code?: string };
  if (code === undefined) throw error;
  return code;
}
