// A network namespace with a handle. Commands enter it with nsenter: `ip netns exec` would mount a fresh /sys and
// hide bpffs.
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { run, type Ran, type RunOptions } from '../run/process.ts';
import { ownName, sweepOnExit } from '../run/owner.ts';

// No duplicate address detection (addresses are usable at once), no router advertisements; strict reverse path
// filter, so that anything which shows a foreign source to the stack is found out.
const sysctls = {
  'net.ipv6.conf.all.accept_dad': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv4.conf.all.rp_filter': 1,
  'net.ipv4.conf.default.rp_filter': 1,
  'net.ipv4.ip_local_port_range': '32768 60999',
  // Every refusal is told, however many there are.
  'net.ipv4.icmp_ratelimit': 0,
  'net.ipv6.icmp.ratelimit': 0,
};

/** The same for the limit over all destinations; the whole machine's below 6.12, and then left alone. */
const newerSysctls = { 'net.ipv4.icmp_msgs_per_sec': 1_000_000, 'net.ipv4.icmp_msgs_burst': 1_000_000 };

export class Netns {
  readonly name: string;
  readonly path: string;
  /** Where its processes are; undefined: where ours are. */
  readonly cgroup: string | undefined;

  private constructor(name: string, cgroup: string | undefined) {
    this.name = name;
    this.path = `/run/netns/${name}`;
    this.cgroup = cgroup;
  }

  static async create(label: string, cgroup?: string): Promise<Netns> {
    sweepOnExit();
    const netns = new Netns(ownName(label), cgroup);
    await run(['ip', 'netns', 'add', netns.name]);
    await netns.sysctl(sysctls);
    await netns.run(['sysctl', '-e', '-q', '-w', ...assignments(newerSysctls)], { mayFail: true });
    await netns.ip(['link set lo up']);
    return netns;
  }

  /**
   * The command line that runs `command` inside; both sh and nsenter replace themselves, so the pid is the command's
   * own.
   */
  inside(command: readonly string[]): [string, string[]] {
    const enter = ['nsenter', `--net=${this.path}`, '--', ...command];
    if (this.cgroup === undefined) return [enter[0]!, enter.slice(1)];
    return ['sh', ['-c', 'echo $$ > "$0" && exec "$@"', `${this.cgroup}/cgroup.procs`, ...enter]];
  }

  run(command: readonly string[], options?: RunOptions): Promise<Ran> {
    const [file, args] = this.inside(command);
    return run([file, ...args], options);
  }

  spawn(command: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, args] = this.inside(command);
    return spawn(file, args, options);
  }

  /** ip(8) commands without the leading "ip", as one batch. */
  async ip(lines: readonly string[]): Promise<void> {
    await run(['ip', '-n', this.name, '-batch', '-'], { input: lines.join('\n') + '\n' });
  }

  async ipJson<T>(command: string): Promise<T> {
    const { stdout } = await run(['ip', '-n', this.name, '-j', ...command.split(' ')]);
    return JSON.parse(stdout === '' ? '[]' : stdout) as T;
  }

  async sysctl(values: Readonly<Record<string, string | number>>): Promise<void> {
    await this.run(['sysctl', '-q', '-w', ...assignments(values)]);
  }

  async close(): Promise<void> {
    await run(['ip', 'netns', 'del', this.name], { mayFail: true });
  }
}

function assignments(values: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(values).map(([key, value]) => `${key}=${String(value)}`);
}

export interface LinkEnd {
  readonly netns: Netns;
  readonly device: string;
}

/** A cable: both ends are made inside their namespaces at once and never appear in the machine's own. */
export async function veth(a: LinkEnd, b: LinkEnd): Promise<void> {
  await run([
    ...['ip', 'link', 'add', a.device, 'netns', a.netns.name, 'type', 'veth'],
    ...['peer', 'name', b.device, 'netns', b.netns.name],
  ]);
}
