// The kept results in bench/results, by the name of their bench.
import { readdirSync, readFileSync } from 'node:fs';
import type { Ratio } from '../../bench/against.ts';
import type { AttachFigures } from '../../bench/attach.ts';
import type { Figure as Connection } from '../../bench/connections.ts';
import type { Figure as Packet } from '../../bench/datapath.ts';
import type { PortsFigures } from '../../bench/ports.ts';
import type { Result as Sockets } from '../../bench/sockets.ts';
import type { SyncFigures } from '../../bench/sync.ts';

/** `npm run bench -- datapath --against REF --json`. */
interface Before {
  readonly method: object;
  readonly base: string;
  readonly ratios: readonly Ratio[];
}

export interface Results {
  readonly datapath: { readonly method: object; readonly figures: readonly Packet[] };
  readonly connections: { readonly method: object; readonly figures: readonly Connection[] };
  readonly sockets: Sockets;
  readonly sync: SyncFigures;
  readonly attach: AttachFigures;
  readonly before: Before;
  readonly ports: PortsFigures;
}

export interface Document<Name extends keyof Results> {
  readonly bench: Name;
  readonly at: string;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly result: Results[Name];
  /** How it was run, where that differs from the other benches. */
  readonly note?: string;
  /** In the place of the command. */
  readonly how?: string;
}

const folder = new URL('../../bench/results/', import.meta.url);

/** undefined when the bench has no kept result. */
export function read<Name extends keyof Results>(bench: Name): Document<Name> | undefined {
  const file = `${bench}.json`;
  if (!readdirSync(folder).includes(file)) return undefined;
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Document<Name>;
}
