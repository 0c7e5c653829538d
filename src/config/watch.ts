// The file of options may change under a running agent (S-108). What it then says is checked first: an invalid file must not
// end an agent that works. Most options are decided before the programs are loaded, so the agent takes them up by beginning anew, in its
// process; the datapath goes on meanwhile.
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './schema.ts';
import { publish } from '../observe/channels.ts';

export interface ConfigOrigin {
  readonly path: string;
  /** The file as it is now. Throws when it is not there, as while it is being replaced. */
  readonly text: () => string;
  /** Reads it again, with the same flags and environment. Throws what is wrong with it. */
  readonly reload: () => Config;
}

export interface AgentOptions {
  /** What of the options means nothing, for the log. */
  readonly notes: readonly string[];
  /** The file of options, if there is one. */
  readonly file: ConfigOrigin | undefined;
}

/** A ConfigMap's file is a link to a link, replaced as a whole: no watch sees that as reliably as a look now and then. */
const lookEveryMs = 2_000;

/** `onChange` is called once: when the file says something else than `config`. Returns the function that ends the watching. */
export function watchConfig(
  config: Config,
  origin: ConfigOrigin,
  onChange: () => void,
  intervalMs = lookEveryMs,
): () => void {
  let seen = '';
  const timer = setInterval(() => {
    const text = textOf(origin);
    if (text === undefined || text === seen) return;
    seen = text;
    if (!differs(config, origin)) return;
    clearInterval(timer);
    onChange();
  }, intervalMs).unref();
  return () => clearInterval(timer);
}

function textOf({ text }: ConfigOrigin): string | undefined {
  try {
    return text();
  } catch {
    return undefined;
  }
}

function differs(config: Config, { reload }: ConfigOrigin): boolean {
  try {
    return !isDeepStrictEqual(reload(), config);
  } catch (error) {
    publish('config.refused', { error });
    return false;
  }
}
