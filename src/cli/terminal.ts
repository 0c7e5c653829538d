// The terminal of a command: where it writes, and the clock for "59s ago". Tests pass their own.
import type { OutputFormat } from './output.ts';

export interface Terminal {
  readonly write: (text: string) => void;
  readonly now: () => Date;
}

/** Options of the commands that read from a running agent. */
export interface ReadOptions {
  readonly api: string;
  readonly output: OutputFormat;
}
