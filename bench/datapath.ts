// What a packet costs: the unmodified programs in BPF_PROG_TEST_RUN, net of the same wrapper around nothing, paired in every
// round. Established flows are made by the programs themselves, from a SYN (or datagram) and its answer each.
import '../test/support/alone.ts';
import { availableParallelism } from 'node:os';
import { indexOf, ip, sysctl } from '../test/support/alone.ts';
import { beginning } from '../test/support/heartbeat.ts';
import type { VerdictName } from '../src/abi/layout.gen.ts';
import {
  backendPort,
  clientPort,
  ends,
  nodePort,
  servicePort,
  tcpAck,
  tcpSyn,
  tcpSynAck,
  template,
  type Family,
  type FrameSpec,
  type Template,
} from './frames.ts';
import { compileWrapper, Rig, type Hook, type Pair, type ServiceKind } from './rig.ts';

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
  /** What service it is for; the cases of a kind share tables. */
  readonly service?: ServiceKind;
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

/** A client of the node's port, and what the backend answers to the node. */
const dial = (family: Family, flags: number): FrameSpec => ({
  ...request(family, 'tcp', flags, ends[family].node),
  destinationPort: nodePort,
});
const answer = (family: Family, flags: number): FrameSpec => ({
  ...reply(family, 'tcp', flags),
  destination: ends[family].node,
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

/** Frontends besides the cluster address. One source port is there for all masqueraded clients, so one client it is. */
function policyCasesOf(family: Family): Case[] {
  const [syn, ack] = [dial(family, tcpSyn), dial(family, tcpAck)];
  const opened: readonly VerdictName[] = ['REQUEST', 'REQUEST_NEW'];
  return [
    {
      name: 'affinity syn',
      frame: request(family, 'tcp', tcpSyn),
      hooks: ['xdp', 'tcIn'],
      verdicts: opened,
      service: 'affine',
    },
    { name: 'local syn', frame: syn, hooks: ['xdp', 'tcIn'], verdicts: opened, service: 'local' },
    {
      name: 'local',
      frame: ack,
      hooks: ['xdp', 'tcIn'],
      verdicts: ['REQUEST'],
      service: 'local',
      needs: 'tcp',
    },
    {
      name: 'masqueraded',
      frame: ack,
      hooks: ['tcIn'],
      verdicts: ['REQUEST'],
      service: 'node',
      needs: 'tcp',
    },
    {
      name: 'masq. reply',
      frame: answer(family, tcpAck),
      hooks: ['tcIn'],
      verdicts: ['REPLY'],
      service: 'node',
      needs: 'tcp',
    },
  ];
}

/** A way to the backend and back to the clients; the process is alone in its network namespace. */
export function buildRoutes(): readonly number[] {
  sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  ip(
    'link set lo up',
    'link add bench0 type veth peer name bench1',
    'link set bench0 address 02:00:00:00:00:01', // as the frames have it
    'link set bench0 up',
    'link set bench1 up',
    ...([4, 6] as const).flatMap((family) => [
      `addr add ${ends[family].node}/${family === 4 ? '24' : '64 nodad'} dev bench0`,
      `route add default via ${family === 4 ? '192.0.2.1' : '2001:db8::1'} dev bench0`,
    ]),
  );
  return [1, indexOf('bench0')];
}

interface Plan {
  readonly devices: readonly number[];
  readonly flows: readonly number[];
  readonly rounds: number;
  readonly cpu: number;
  readonly wrapper: Uint8Array;
}

/** Every client sends its first packet, is answered, and confirms the answer: then all flows are established. */
function establish(rig: Rig, { frame, needs, service }: Case, flows: number): void {
  const { family } = frame;
  if (needs === undefined) return;
  const node = service === 'node' || service === 'local';
  const masqueraded = service === 'node';
  const steps: [Hook, FrameSpec, VerdictName][] = [
    ['tcIn', node ? dial(family, tcpSyn) : request(family, needs, tcpSyn), 'REQUEST_NEW'],
    masqueraded
      ? ['tcIn', answer(family, tcpSynAck), 'REPLY']
      : ['tcOut', reply(family, needs, tcpSynAck), 'REPLY'],
    ['tcIn', node ? dial(family, tcpAck) : request(family, needs, tcpAck), 'REQUEST'],
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
  const slack = hook === 'xdp' ? packets / 8_192 : 0;
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

/** All cases that share tables: of one service, and that need no flow, or the flows of one protocol. */
async function measureGroup(cases: readonly Case[], flows: number, plan: Plan): Promise<Figure[]> {
  const [first] = cases;
  if (first === undefined) return [];
  const { needs, service = 'plain', frame } = first;
  beginning(`bench: datapath, IPv${frame.family}, ${flows} flows, ${groupOf(first).trim()}`, 600);
  const rig = await Rig.create({
    family: frame.family,
    established: roomy(flows),
    // To be established all flows are half-open for a moment; else the default, as a SYN meets it in life.
    halfOpen: needs === undefined ? 65_536 : roomy(flows),
    wrapper: plan.wrapper,
    cpu: plan.cpu,
  });
  try {
    rig.addService(frame.family, 'tcp', 1, service);
    rig.addService(frame.family, 'udp', 2, service);
    rig.placeAt(plan.devices, service === 'node' || service === 'local');
    establish(rig, first, flows);
    return cases.flatMap((one) => one.hooks.map((hook) => measure(rig, hook, one, flows, plan)));
  } finally {
    rig.close();
  }
}

const groupOf = ({ service = 'plain', needs }: Case): string => `${service} ${needs ?? ''}`;

export async function run({ quick = false }: Options = {}): Promise<{ method: object; figures: Figure[] }> {
  const plan: Plan = {
    flows: quick ? [1, 16_384, 262_144] : [1, 1024, 16_384, 262_144, 1_048_576],
    rounds: quick ? 5 : 11,
    cpu: availableParallelism() - 1,
    wrapper: compileWrapper(),
    devices: buildRoutes(),
  };
  const figures: Figure[] = [];
  for (const family of [4, 6] as const) {
    for (const flows of plan.flows) {
      const cases = [...casesOf(family), ...policyCasesOf(family)].filter(
        ({ service }) => flows === 1 || service !== 'node',
      );
      for (const group of new Set(cases.map(groupOf))) {
        const members = cases.filter((one) => groupOf(one) === group);
        figures.push(...(await measureGroup(members, flows, plan)));
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
    row.map((cell, i) => (i < 2 ? cell.padEnd(14) : cell.padStart(8))).join('');
  return `${[[...columns], ...cells].map(line).join('\n')}\n`;
}
