// What commands need beyond the REST API: the agent itself and the kernel. src/main.ts implements it and loads each
// part on demand.
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
  /** Also while an agent runs, which then restores what is missing. */
  readonly force: boolean;
}

/**
 * What `clean` has done, for people: paths and names of what is gone, and "NAME = VALUE" of settings that were put
 * back.
 */
export interface Cleaned {
  readonly removed: readonly string[];
  readonly restored: readonly string[];
}

export interface Commands {
  /** Runs the agent until a signal stops it, or until it has to restart with another configuration. */
  agent(config: Config, more: AgentOptions): Promise<'stopped' | 'restart'>;
  /** Replaces this process by a new one with the same pid and command line (execve). Returns only by throwing. */
  restart(): Promise<void>;
  /** Sets the sysctls that need root; attaches nothing. */
  prepare(config: Config): Promise<void>;
  /** Features of the kernel and the node, as an agent with these options finds them. */
  check(options: { bpffs: string; cgroup: string }): Promise<readonly CheckRow[]>;
  /**
   * Detaches and unpins everything of ours under the folder; on demand it removes the rules that kube-proxy left, too.
   */
  clean(options: CleanOptions): Promise<Cleaned>;
}
