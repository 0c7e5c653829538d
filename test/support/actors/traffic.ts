// The lab's end of an actor: starts one inside a namespace and calls its verbs, fully typed.
import type { ChildProcess } from 'node:child_process';
import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import type { Answer, Call, Verb, Verbs } from './actor.ts';
import type { Netns } from './netns.ts';
import { end } from '../run/process.ts';

let program: Promise<string> | undefined;

/**
 * The actor as one plain JavaScript module, made once: loading TypeScript in each namespace would cost half a second.
 */
function actorProgram(): Promise<string> {
  program ??= build({
    entryPoints: [fileURLToPath(new URL('actor.ts', import.meta.url))],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
  }).then((result) => result.outputFiles[0]?.text ?? '');
  return program;
}

type Result<V extends Verb> = Awaited<ReturnType<Verbs[V]>>;

/** What an actor's verb threw, with the code of the system call that failed. */
export class ActorError extends Error {
  readonly code: string;
  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Actor {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  private constructor(child: ChildProcess, name: string) {
    this.#child = child;
    child.on('message', (answer: Answer) => {
      this.#settle(answer);
    });
    child.on('exit', (code) => {
      const error = new Error(`the actor in ${name} ended (${String(code)})`);
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    });
  }

  static async start(netns: Netns): Promise<Actor> {
    const code = await actorProgram();
    const child = netns.spawn([process.execPath, '--input-type=module', '-'], {
      stdio: ['pipe', 2, 2, 'ipc'], // stdout belongs to the test's report
      env: { ...process.env, NODE_OPTIONS: '' }, // no loaders or debuggers of the test runner
    });
    child.stdin?.end(code);
    return new Actor(child, netns.name);
  }

  call<V extends Verb>(verb: V, ...[args]: Parameters<Verbs[V]>): Promise<Result<V>> {
    const id = this.#next++;
    const call: Call = { id, verb, args };
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send(call, (error) => {
        if (error !== null) reject(error);
      });
    }) as Promise<Result<V>>;
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ('error' in answer) waiting?.reject(new ActorError(answer.error, answer.code));
    else waiting?.resolve(answer.result);
  }

  /** Kills the process and its sockets, as a crashing backend would. */
  close(): Promise<void> {
    return end(this.#child, 'SIGKILL');
  }
}
