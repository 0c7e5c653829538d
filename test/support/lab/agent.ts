// The agent on a node of the lab: started as an operator starts it, watched through its API, killed and started again.
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceDetail } from '../../../src/api/bodies.ts';
import type { LabNode } from './lab.ts';
import type { SliceEndpoint } from '../kube/manifests.ts';
import { ownFolder } from '../run/owner.ts';
import { end, isRunning, until, type Ran } from '../run/process.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const bundle = join(root, 'dist/sluice.mjs');

function newestSource(): number {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  return Math.max(...sources.map((file) => statSync(join(root, 'src', file)).mtimeMs));
}

/**
 * bin/sluice when the bundle is up to date, as it is after `make build`; else the sources, so that no test runs old
 * code.
 */
export function sluiceCommand(): string[] {
  const fresh = existsSync(bundle) && statSync(bundle).mtimeMs >= newestSource();
  return fresh ? [join(root, 'bin/sluice')] : [process.execPath, '--import=tsx', join(root, 'src/main.ts')];
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  NODE: process.execPath,
  NODE_OPTIONS: '', // those of a test runner are not the agent's
});

/** Runs a sluice command on the node to its end. */
export function sluice(node: LabNode, ...args: string[]): Promise<Ran> {
  return node.netns.run([...sluiceCommand(), ...args], { mayFail: true, env: environment() });
}

/** Flags that give the agents of several nodes a place of their own each. */
export function placeFlags(node: LabNode): string[] {
  return ['--bpffs', node.bpffs, '--cgroup', node.cgroup ?? 'auto'];
}

/** Whether new connections to the Service go to these endpoints, those of them that are ready, and to no others. */
export function leadsTo(service: ServiceDetail | undefined, endpoints: readonly SliceEndpoint[]): boolean {
  const wanted = endpoints.filter(({ ready = true }) => ready);
  const found = service?.backends.filter(({ state }) => state === 'ready');
  const addresses = (list: readonly { address: string }[]): string =>
    [...new Set(list.map(({ address }) => address))].sort().join();
  return found !== undefined && addresses(found) === addresses(wanted);
}

export interface AgentOptions {
  /** A folder; without it, name another source in the flags. */
  readonly manifests?: string;
  readonly flags?: readonly string[];
  /** Off unless said otherwise: the test is about packets. */
  readonly socketHooks?: 'auto' | 'on' | 'off';
  /** Beside the environment of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** Told before it is ready. */
  readonly onSpawn?: (agent: Agent) => void;
}

export class Agent {
  readonly node: LabNode;
  /** A file, not a pipe: the agent may outlive this process. */
  readonly logFile: string;
  readonly #child: ChildProcess;

  private constructor(node: LabNode, command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.node = node;
    this.logFile = join(ownFolder('agent'), 'log');
    const log = openSync(this.logFile, 'a');
    this.#child = node.netns.spawn(command, {
      stdio: ['ignore', log, log],
      env: { ...environment(), ...env },
      detached: true,
    });
    closeSync(log);
  }

  /** Starts the agent and waits until everything in the manifests is in the kernel. */
  static async start(node: LabNode, options: AgentOptions): Promise<Agent> {
    const source = options.manifests === undefined ? [] : ['--manifests', options.manifests];
    const hooks = ['--socket-hooks', options.socketHooks ?? 'off'];
    const flags = [...source, '--node-name', node.name, ...placeFlags(node), ...hooks];
    const command = [...sluiceCommand(), 'agent', ...flags, ...(options.flags ?? [])];
    const agent = new Agent(node, command, options.env);
    options.onSpawn?.(agent);
    try {
      await agent.until('readiness', async () =>
        (await agent.get('/readyz')).status === 200 ? true : undefined,
      );
    } catch (error) {
      await agent.kill();
      throw error;
    }
    return agent;
  }

  get log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return isRunning(this.#child);
  }

  async get(path: string): Promise<{ status: number; body: string }> {
    const url = `http://127.0.0.1:9961${path}`;
    return this.node.actor.call('http', { url }).catch(() => ({ status: 0, body: '' }));
  }

  async json<T>(path: string): Promise<T> {
    const { status, body } = await this.get(path);
    if (status !== 200) throw new Error(`GET ${path}: ${String(status)} ${body}`);
    return JSON.parse(body) as T;
  }

  /** What it says of a Service of the lab; undefined while it does not know it. */
  async service(name: string): Promise<ServiceDetail | undefined> {
    const { status, body } = await this.get(`/v1/services/lab/${name}`);
    return status === 200 ? (JSON.parse(body) as ServiceDetail) : undefined;
  }

  /** Polls; fails at once, with the end of the log, when the agent has ended. */
  async until<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
    const guarded = async (): Promise<T | undefined> => {
      if (!this.running) throw new Error(`the agent ended while waiting for ${what}`);
      return probe();
    };
    try {
      return await until(what, guarded);
    } catch (error) {
      throw new Error(`${String(error)}\nagent log:\n${this.log.slice(-4000)}`, { cause: error });
    }
  }

  stop(): Promise<void> {
    return end(this.#child, 'SIGTERM');
  }

  kill(): Promise<void> {
    return end(this.#child, 'SIGKILL');
  }

  /** Lets this process end while the agent goes on. */
  unref(): void {
    this.#child.unref();
  }
}
