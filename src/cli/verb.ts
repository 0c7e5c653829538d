// What every command gets: where to write, and the clock. Tests pass their own.
import type { OutputFormat } from './output.ts';

export interface Verb {
  readonly write: (text: string) => void;
  readonly now: () => Date;
}

/** Options of the commands that read from a running agent. */
export interface ReadOptions {
  readonly api: string;
  readonly output: OutputFormat;
}
