// What every verb gets: where to write, and the clock. Tests hand over their own.
import type { OutputFormat } from './output.ts';

export interface Verb {
  readonly write: (text: string) => void;
  readonly now: () => Date;
}

/** Options of the verbs that read from a running agent. */
export interface ReadOptions {
  readonly api: string;
  readonly output: OutputFormat;
}
