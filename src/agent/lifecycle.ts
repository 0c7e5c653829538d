// What was started is stopped in the opposite order, whatever happened in between.
import { publish } from '../observe/channels.ts';

export class Lifecycle {
  readonly #stops: (() => unknown)[] = [];

  /** Call it right after something has been started. */
  onStop(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  /** One that fails does not keep the others from being stopped. */
  async stop(): Promise<void> {
    for (let stop = this.#stops.pop(); stop !== undefined; stop = this.#stops.pop()) {
      try {
        await stop();
      } catch (error) {
        publish('agent.fault', { error });
      }
    }
  }
}

/** Resolves with the first of the signals that ask the process to end. */
export function terminationSignal(lifecycle: Lifecycle): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, resolve);
      lifecycle.onStop(() => process.off(signal, resolve));
    }
  });
}

/**
 * An uncaught error leaves the agent in an unknown state: it is logged, and the process
 * ends. The datapath goes on by itself, and the agent's supervisor starts it again.
 */
export function exitOnFault(): void {
  const end = (error: unknown): void => {
    publish('agent.fault', { error });
    process.exit(1);
  };
  process.on('unhandledRejection', end);
  process.on('uncaughtException', end);
}
