// How long a new pod's device is without programs, and what changes of routes cost the agent: a whole agent on a node
// of the lab.
import { setTimeout as sleep } from 'node:timers/promises';
import { cleanDatapath } from '../src/hooks/clean.ts';
import { Agent } from '../test/support/lab/agent.ts';
import { Lab, type LabNode } from '../test/support/lab/lab.ts';
import { ManifestFolder } from '../test/support/kube/manifests.ts';
import { Netns } from '../test/support/actors/netns.ts';
import { ownBpffs } from '../test/support/run/owner.ts';
import { Remote } from '../test/support/actors/remote.ts';
import type { Verbs as AgentVerbs } from './attachagent.ts';
import type { Verbs as WatcherVerbs } from './attachwatcher.ts';

const standing = 100; // pods that are there already
const routes = 50_000;
const changesPerSec = 23;

export interface AttachFigures {
  readonly method: string;
  readonly pods: number;
  readonly samples: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly routes: number;
  readonly routeChangesPerSec: number;
  readonly agentCpuPercent: number;
}

export async function run({ quick }: { quick: boolean }): Promise<AttachFigures> {
  const times = await attachTimes(quick ? 50 : 500);
  const lab = await Lab.create();
  try {
    const node = await lab.node('node');
    const agent = await Agent.start(node, { manifests: new ManifestFolder().path });
    try {
      const agentCpuPercent = await cpuOfRouteChanges(node, agent, quick ? 5 : 30);
      return { ...figuresOf(times), routes, routeChangesPerSec: changesPerSec, agentCpuPercent };
    } finally {
      await agent.stop();
    }
  } finally {
    await lab.close();
  }
}

const namesOf = (count: number): string[] => Array.from({ length: count }, (_, at) => `pod${String(at)}`);
const cable = (name: string, pods: Netns): string =>
  `link add ${name} type veth peer name ${name} netns ${pods.name}`;

async function attachTimes(samples: number): Promise<number[]> {
  const node = await Netns.create('node');
  const pods = await Netns.create('pods');
  const bpffs = ownBpffs('attach');
  await node.ip(namesOf(standing).map((name) => cable(name, pods)));
  const agent = await Remote.start<AgentVerbs>(node, new URL('attachagent.ts', import.meta.url));
  const watcher = await Remote.start<WatcherVerbs>(node, new URL('attachwatcher.ts', import.meta.url));
  const times: number[] = [];
  try {
    await agent.call('start', bpffs);
    for (let sample = 0; sample < samples; sample++) {
      const device = `new${String(sample)}`;
      await watcher.call('expect', device);
      await node.ip([cable(device, pods)]);
      const seen = await watcher.call('seen');
      const handed = await agent.call('handed', seen?.ifindex ?? 0);
      if (seen === undefined || handed === undefined) throw new Error(`no program at ${device}`);
      times.push(Math.max(0, Number(BigInt(handed) - BigInt(seen.at)) / 1e6));
      await node.ip([`link del ${device}`]);
    }
  } finally {
    await Promise.all([agent.kill(), watcher.kill()]);
    cleanDatapath(bpffs);
  }
  return times;
}

function figuresOf(times: readonly number[]) {
  const sorted = [...times].sort((one, other) => one - other);
  const at = (share: number): number => round(sorted[Math.ceil(sorted.length * share) - 1] ?? NaN);
  return {
    method:
      "from the kernel's message about a new veth, as another process sees it, to the system call that attaches at ingress; the program works from within that call, which ends after a wait for RCU",
    pods: standing,
    samples: times.length,
    medianMs: at(0.5),
    p99Ms: at(0.99),
    maxMs: at(1),
  };
}

/** As BGP changes what it has announced: one route at a time, among many that stay. */
async function cpuOfRouteChanges(node: LabNode, agent: Agent, seconds: number): Promise<number> {
  const via = `via ${node.v4.replace(/\d+$/, '1')}`;
  const range = (at: number): string =>
    `10.${String(128 + ((at >> 8) & 127))}.${String(at & 255)}.${String((at >> 15) * 64)}/26`;
  await node.netns.ip(Array.from({ length: routes }, (_, at) => `route add ${range(at)} ${via}`));
  await sleep(2_000);
  const before = await cpuSeconds(agent);
  const begun = performance.now();
  for (let second = 0; second < seconds; second++) {
    for (let change = 0; change < changesPerSec; change++) {
      await node.netns.ip([`route ${change % 2 === 0 ? 'del' : 'add'} ${range(change >> 1)} ${via}`]);
      await sleep(
        Math.max(0, begun + second * 1000 + ((change + 1) * 1000) / changesPerSec - performance.now()),
      );
    }
    if (changesPerSec % 2 === 1) await node.netns.ip([`route add ${range(changesPerSec >> 1)} ${via}`]);
  }
  return round((((await cpuSeconds(agent)) - before) / ((performance.now() - begun) / 1000)) * 100);
}

async function cpuSeconds(agent: Agent): Promise<number> {
  const { body } = await agent.get('/metrics');
  return Number(/^process_cpu_seconds_total (\S+)$/m.exec(body)?.[1]);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
