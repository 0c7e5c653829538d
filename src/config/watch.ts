// Watches the configuration file (S-108). A changed file is checked first: an invalid one must not end a running agent.
// Most options are fixed when the programs are loaded, so the agent applies a change by a restart within its process;
// the data path forwards meanwhile.
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './schema.ts';
import { publish } from '../observe/channels.ts';

export interface ConfigOrigin {
  readonly path: string;
  /** The content of the file. Throws while it does not exist, as during a replacement. */
  readonly text: () => string;
  /** Loads it again, with the same flags and environment. Throws SLB_E_CONFIG when it is invalid. */
  readonly reload: () => Config;
}

export interface AgentOptions {
  /** Options that are ignored, for the log. */
  readonly notes: readonly string[];
  /** Options that are deprecated, for the log. */
  readonly deprecated: readonly string[];
  /** The configuration file, if there is one. */
  readonly file: ConfigOrigin | undefined;
}

/** The file of a ConfigMap is a link to a link that is replaced as a whole: polling sees that, inotify may not. */
const pollMs = 2_000;

/** Calls `onChange` once, when the file gives another configuration than `config`. Returns a function that stops it. */
export function watchConfig(
  config: Config,
  origin: ConfigOrigin,
  onChange: () => void,
  intervalMs = pollMs,
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
