// What a packet costs: the unmodified programs in BPF_PROG_TEST_RUN, net of the same wrapper around nothing, paired in every
// round. Established flows are made by the programs themselves, from a SYN (or datagram) and its answer each.
import { availableParallelism } from 'node:os';
import type { VerdictName } from '../src/abi/layout.gen.ts';
import {
  backendPort,
  clientPort,
  ends,
  servicePort,
  tcpAck,
  tcpSyn,
  tcpSynAck,
  template,
  type Family,
  type FrameSpec,
  type Template,
} from './frames.ts';
import { compileWrapper, Rig, type Hook, type Pair } from './rig.ts';

export interface Options {
  /** Fewer rounds and numbers of flows. */
  readonly quick?: boolean;
}

export interface Figure {
  readonly case: string;
  readonly hook: Hook;
  readonly family: Family;
  readonly flows: number;
  /** ns a packet, the floor subtracted round by round. */
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** ns of the wrapper alone. */
  readonly floor: number;
}

interface Case {
  readonly name: string;
  readonly frame: FrameSpec;
  readonly hooks: readonly Hook[];
  readonly verdicts: readonly VerdictName[];
  /** Whether each flow exists already. */
  readonly needs?: 'tcp' | 'udp';
}

const request = (
  family: Family,
  protocol: 'tcp' | 'udp',
  flags = 0,
  destination = ends[family].service,
): FrameSpec => ({
  family,
  protocol,
  flags,
  destination,
  source: ends[family].client,
  sourcePort: clientPort,
  destinationPort: servicePort,
  clientIs: 'source',
});

const reply = (family: Family, protocol: 'tcp' | 'udp', flags = 0): FrameSpec => ({
  family,
  protocol,
  flags,
  source: ends[family].backend,
  destination: ends[family].client,
  sourcePort: backendPort,
  destinationPort: clientPort,
  clientIs: 'destination',
});

const strangers: Readonly<Record<Family, string>> = { 4: '10.97.0.1', 6: 'fd00:97::1' };

function casesOf(family: Family): Case[] {
  return [
    {
      name: 'not ours',
      frame: request(family, 'tcp', tcpAck, strangers[family]),
      hooks: ['xdp', 'tcIn', 'tcOut'],
      verdicts: ['NOT_OURS'],
    },
    {
      name: 'established',
      frame: request(family, 'tcp', tcpAck),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      needs: 'tcp',
    },
    {
      name: 'reply',
      frame: reply(family, 'tcp', tcpAck),
      hooks: ['tcOut'],
      verdicts: ['REPLY'],
      needs: 'tcp',
    },
    {
      name: 'udp',
      frame: request(family, 'udp'),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      needs: 'udp',
    },
    { name: 'udp reply', frame: reply(family, 'udp'), hooks: ['tcOut'], verdicts: ['REPLY'], needs: 'udp' },
    // With few clients a SYN comes again and again to a half-open flow; beyond 32 768 (two rows each) every one is new.
    {
      name: 'syn',
      frame: request(family, 'tcp', tcpSyn),
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST', 'REQUEST_NEW'],
    },
  ];
}

interface Plan {
  readonly flows: readonly number[];
  readonly rounds: number;
  readonly cpu: number;
  readonly wrapper: Uint8Array;
}

/** Every client sends its first packet and is answered: then all flows are established. */
function establish(rig: Rig, family: Family, protocol: 'tcp' | 'udp', flows: number): void {
  const steps: [Hook, FrameSpec, VerdictName][] = [
    ['tcIn', request(family, protocol, tcpSyn), 'REQUEST_NEW'],
    ['tcOut', reply(family, protocol, tcpSynAck), 'REPLY'],
  ];
  for (const [hook, spec, verdict] of steps) {
    const pair = rig.pair(hook, template(spec), flows);
    expecting(rig, hook, [verdict], flows, () => pair.run(flows));
    pair.close();
  }
}

/** A figure of packets that went another way than meant would be worse than none. */
function expecting(
  rig: Rig,
  hook: Hook,
  names: readonly VerdictName[],
  packets: number,
  action: () => void,
): void {
  const before = rig.verdicts(hook);
  action();
  const after = rig.verdicts(hook);
  const grown = [...after].map(([name, count]) => [name, Number(count - (before.get(name) ?? 0n))] as const);
  const meant = grown.filter(([name]) => names.includes(name)).reduce((sum, [, count]) => sum + count, 0);
  // XDP leaves unfinished checksums to tc, and a finished one in 65 536 looks like one.
  const slack = hook === 'xdp' ? packets / 16_384 : 0;
  if (meant < packets - slack || meant > packets) {
    const found = grown.filter(([, count]) => count > 0).map(([name, count]) => `${name} ${String(count)}`);
    throw new Error(
      `${hook}: ${String(packets)} packets should be ${names.join(' or ')}, but: ${found.join(', ')}`,
    );
  }
}

const medianOf = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
};

function measure(rig: Rig, hook: Hook, one: Case, flows: number, plan: Plan): Figure {
  const frame: Template = template(one.frame);
  const pair: Pair = rig.pair(hook, frame, flows);
  // Every flow comes at least once a round, and short rounds are long enough for a clock of nanoseconds.
  const repeat = Math.max(flows, 200_000);
  const net: number[] = [];
  const floors: number[] = [];
  expecting(rig, hook, one.verdicts, repeat * (plan.rounds + 1), () => {
    pair.run(repeat);
    for (let round = 0; round < plan.rounds; round++) {
      const floor = pair.floor(repeat);
      floors.push(floor);
      net.push(pair.run(repeat) - floor);
    }
  });
  pair.close();
  return {
    case: one.name,
    hook,
    family: one.frame.family,
    flows,
    median: medianOf(net),
    min: Math.min(...net),
    max: Math.max(...net),
    floor: medianOf(floors),
  };
}

/** Default sizes, or four times the flows where those would be too small. */
const roomy = (flows: number): number => Math.max(262_144, 4 * flows);

/** All cases that share tables: those that need no flow, or the flows of one protocol. */
async function measureGroup(
  family: Family,
  flows: number,
  needs: Case['needs'],
  plan: Plan,
): Promise<Figure[]> {
  const rig = await Rig.create({
    family,
    established: roomy(flows),
    // To be established all flows are half-open for a moment; else the default, as a SYN meets it in life.
    halfOpen: needs === undefined ? 65_536 : roomy(flows),
    wrapper: plan.wrapper,
    cpu: plan.cpu,
  });
  try {
    rig.addService(family, 'tcp', 1);
    rig.addService(family, 'udp', 2);
    if (needs !== undefined) establish(rig, family, needs, flows);
    return casesOf(family)
      .filter((one) => one.needs === needs)
      .flatMap((one) => one.hooks.map((hook) => measure(rig, hook, one, flows, plan)));
  } finally {
    rig.close();
  }
}

export async function run({ quick = false }: Options = {}): Promise<{ method: object; figures: Figure[] }> {
  const plan: Plan = {
    flows: quick ? [1, 16_384, 262_144] : [1, 1024, 16_384, 262_144, 1_048_576],
    rounds: quick ? 5 : 11,
    cpu: availableParallelism() - 1,
    wrapper: compileWrapper(),
  };
  const figures: Figure[] = [];
  for (const family of [4, 6] as const) {
    for (const flows of plan.flows) {
      for (const needs of [undefined, 'tcp', 'udp'] as const) {
        figures.push(...(await measureGroup(family, flows, needs, plan)));
      }
    }
  }
  const method = {
    what: 'BPF_PROG_TEST_RUN; ns a packet, net of the same wrapper around nothing, paired a round; median, min, max',
    rounds: plan.rounds,
    cpu: plan.cpu,
    order: 'clients by a full-period permutation',
  };
  return { method, figures };
}

const columns = ['case', 'hook', 'family', 'flows', 'median', 'min', 'max', 'floor'] as const;

/** ns a packet, one figure a line. */
export function show({ figures }: { readonly figures: readonly Figure[] }): string {
  const cells = figures.map((figure) => columns.map((column) => String(figure[column])));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(12) : cell.padStart(8))).join('');
  return `${[[...columns], ...cells].map(line).join('\n')}\n`;
}
