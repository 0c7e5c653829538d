// When all objects that existed at start have been delivered (S-102). Optional kinds are waited for, but not for long.
import type { SourceKind } from '../objects.ts';
import type { Clock } from './clock.ts';
import type { Resource } from './resource.ts';

/** How long to wait for optional kinds once all others are listed. */
const optionalMs = 10_000;

export class InitialSync {
  readonly #clock: Clock;
  readonly #synced: () => void;
  readonly #required: Set<SourceKind>;
  readonly #optional: Set<SourceKind>;
  #done = false;
  #cancel: (() => void) | undefined;

  /** `synced` is called once. */
  constructor(resources: readonly Resource[], clock: Clock, synced: () => void) {
    const kinds = (optional: boolean): SourceKind[] =>
      resources.filter((one) => (one.optional ?? false) === optional).map(({ kind }) => kind);
    this.#clock = clock;
    this.#synced = synced;
    this.#required = new Set(kinds(false));
    this.#optional = new Set(kinds(true));
  }

  listed({ kind }: Resource): void {
    this.#required.delete(kind);
    this.#optional.delete(kind);
    this.#look();
  }

  /** The server has refused the list. */
  refused({ kind }: Resource): void {
    this.#optional.delete(kind);
    this.#look();
  }

  stop(): void {
    this.#done = true;
    this.#cancel?.();
  }

  #look(): void {
    if (this.#done || this.#required.size > 0) return;
    if (this.#optional.size === 0) this.#end();
    else this.#cancel ??= this.#clock.after(optionalMs, () => this.#end());
  }

  #end(): void {
    this.stop();
    this.#synced();
  }
}
