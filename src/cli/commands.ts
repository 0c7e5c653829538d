// What the command line may ask for beyond the API of a running agent. src/main.ts hands it over, loaded when called.
import type { Config } from '../config/schema.ts';
import type { AgentOptions } from '../config/watch.ts';

export interface CheckRow {
  readonly name: string;
  readonly needed: boolean; // without it the agent does not start
  readonly supported: boolean;
  readonly detail: string;
}

export interface CleanOptions {
  readonly bpffs: string;
  readonly kubeProxy: boolean;
  /** Beside an agent too, which then puts back what it misses. */
  readonly force: boolean;
}

/** What `clean` has done, for people: paths and names of what is gone, and "NAME = VALUE" of settings that were put back. */
export interface Cleaned {
  readonly removed: readonly string[];
  readonly restored: readonly string[];
}

export interface Commands {
  /** Runs the agent until it is told to stop, or until it is to begin anew: with other options. */
  agent(config: Config, more: AgentOptions): Promise<'stopped' | 'restart'>;
  /** Begins this process anew, with the same id and command line. Returns only by throwing. */
  restart(): Promise<void>;
  /** Does to the node what takes root's rights, and nothing that forwards. */
  prepare(config: Config): Promise<void>;
  /** Kernel and node, as an agent with these options would find them. */
  check(options: { bpffs: string; cgroup: string }): Promise<readonly CheckRow[]>;
  /** Detaches and unpins everything of ours under the folder; on demand it removes the rules that kube-proxy left, too. */
  clean(options: CleanOptions): Promise<Cleaned>;
}
