// Functions that run in another network namespace: a child process enters it, and a call is a message there and back.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Netns } from './netns.ts';
import { end } from '../run/process.ts';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- each verb has an argument type of its own
type Verbs = Record<string, (argument: any) => unknown>;

interface Call {
  readonly id: number;
  readonly verb: string;
  readonly argument: unknown;
}

interface Failed {
  readonly message: string;
  readonly code: unknown;
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly failed?: Failed;
}

function describe(error: unknown): Failed {
  const { message, code } = error as NodeJS.ErrnoException;
  return { message, code };
}

/** In the child: answers calls until the parent goes. */
export function serve(verbs: Verbs): void {
  process.on('message', ({ id, verb, argument }: Call) => {
    const reply = async (): Promise<Reply> => ({ id, result: await verbs[verb]?.(argument) });
    reply()
      .catch((error: unknown) => ({ id, failed: describe(error) }))
      .then((answer) => process.send?.(answer), process.abort);
  });
  process.on('disconnect', () => process.exit(0));
}

type Argument<V extends Verbs, K extends keyof V> = Parameters<V[K]>;
type Result<V extends Verbs, K extends keyof V> = Awaited<ReturnType<V[K]>>;

export class Remote<V extends Verbs> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { done: (result: never) => void; fail: (error: Error) => void }>();
  #serial = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (reply.failed === undefined) waiting?.done(reply.result as never);
      else waiting?.fail(Object.assign(new Error(reply.failed.message), { code: reply.failed.code }));
    });
    child.on('exit', () => {
      for (const { fail } of this.#waiting.values()) fail(new Error('the remote has ended'));
    });
  }

  /** `module` calls serve() when it is imported. */
  static async start<V extends Verbs>(netns: Netns, module: URL): Promise<Remote<V>> {
    const child = netns.spawn([process.execPath, '--import=tsx', module.pathname], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await once(child, 'spawn');
    return new Remote<V>(child);
  }

  call<K extends keyof V & string>(verb: K, ...[argument]: Argument<V, K>): Promise<Result<V, K>> {
    const id = ++this.#serial;
    const call: Call = { id, verb, argument };
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done, fail });
      this.#child.send(call);
    });
  }

  /** SIGKILL: what the process held is closed by the kernel alone. */
  kill(): Promise<void> {
    return end(this.#child, 'SIGKILL');
  }
}
