// Stops the components of the agent in the opposite order of their start, also when the start failed half-way.
import { publish } from '../observe/channels.ts';

export class Lifecycle {
  readonly #stops: (() => unknown)[] = [];

  /** Call it right after a component has started. */
  onStop(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  /** A component that fails to stop is logged, and the others are stopped all the same. */
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

/** Resolves with the first SIGTERM or SIGINT. */
export function terminationSignal(lifecycle: Lifecycle): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, resolve);
      lifecycle.onStop(() => process.off(signal, resolve));
    }
  });
}

/**
 * An uncaught error leaves the agent in an unknown state: it is logged, and the process ends. The data path goes on
 * without an agent, and kubelet or systemd starts the agent again.
 */
export function exitOnFault(): void {
  const end = (error: unknown): void => {
    publish('agent.fault', { error });
    process.exit(1);
  };
  process.on('unhandledRejection', end);
  process.on('uncaughtException', end);
}
