// What a packet costs: the unmodified programs in BPF_PROG_TEST_RUN, net of the same wrapper around nothing, paired in
// every round. Established flows are made by the programs themselves, from a SYN (or datagram) and its answer each.
import '../test/support/run/alone.ts';
import { availableParallelism } from 'node:os';
import { indexOf, ip, sysctl } from '../test/support/run/alone.ts';
import { beginning } from '../test/support/run/heartbeat.ts';
import type { VerdictName } from '../src/abi/layout.gen.ts';
import { otherRig, ratioOf, table, type Ratio } from './against.ts';
import { casesOf, stepsOf, type Case } from './cases.ts';
import { ends, template, type Family } from './frames.ts';
import { compileWrapper, Rig, type Hook, type RigOptions } from './rig.ts';

export interface Options {
  /** Fewer rounds and numbers of flows. */
  readonly quick?: boolean;
  /** A git revision to compare with. */
  readonly against?: string;
  /** Only the cases whose name contains this. */
  readonly only?: string;
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

type Create = (options: RigOptions) => Promise<Rig>;

interface Plan {
  readonly devices: readonly number[];
  readonly flows: readonly number[];
  readonly rounds: number;
  readonly cpu: number;
  readonly wrapper: Uint8Array;
  /** This revision, and then the one to compare with. */
  readonly revisions: readonly Create[];
}

/** Every client sends its first packet, is answered, and confirms the answer: then all flows are established. */
function establish(rig: Rig, one: Case, flows: number): void {
  for (const [hook, spec, verdict] of stepsOf(one)) {
    const pair = rig.pair(hook, template(spec), flows);
    const check = expecting(rig, hook, [verdict]);
    pair.run(flows);
    check(flows);
    pair.close();
  }
}

/** To be called after the packets: a figure of packets that went another way than meant would be worse than none. */
function expecting(rig: Rig, hook: Hook, names: readonly VerdictName[]): (packets: number) => void {
  const before = rig.verdicts(hook);
  return (packets) => {
    const grown = [...rig.verdicts(hook)].map(
      ([name, count]) => [name, Number(count - (before.get(name) ?? 0n))] as const,
    );
    const meant = grown.filter(([name]) => names.includes(name)).reduce((sum, [, count]) => sum + count, 0);
    // XDP leaves unfinished checksums to tc, and a finished one in 65 536 looks like one.
    const slack = hook === 'xdp' ? packets / 8_192 : 0;
    if (meant >= packets - slack && meant <= packets) return;
    const found = grown.filter(([, count]) => count > 0).map(([name, count]) => `${name} ${String(count)}`);
    throw new Error(
      `${hook}: ${String(packets)} packets should be ${names.join(' or ')}, but: ${found.join(', ')}`,
    );
  };
}

const medianOf = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
};

/** ns a packet of each revision, round by round. */
interface Rounds {
  readonly net: number[];
  readonly floors: number[];
}

/** The revisions take turns within a round, each being the first in every other one. */
function measure(rigs: readonly Rig[], hook: Hook, one: Case, flows: number, rounds: number): Rounds[] {
  // Every flow comes at least once a round, and short rounds are long enough for a clock of nanoseconds.
  const repeat = Math.max(flows, 200_000);
  const runs = rigs.map((rig) => ({
    pair: rig.pair(hook, template(one.frame), flows),
    check: expecting(rig, hook, one.verdicts),
    net: new Array<number>(),
    floors: new Array<number>(),
  }));
  for (const { pair } of runs) pair.run(repeat);
  for (let round = 0; round < rounds; round++) {
    for (const { pair, net, floors } of round % 2 === 0 ? runs : runs.toReversed()) {
      const floor = pair.floor(repeat);
      floors.push(floor);
      net.push(pair.run(repeat) - floor);
    }
  }
  for (const { pair, check } of runs) {
    check(repeat * (rounds + 1));
    pair.close();
  }
  return runs;
}

interface Measured {
  readonly one: Case;
  readonly hook: Hook;
  readonly flows: number;
  readonly rounds: readonly Rounds[];
}

const figureOf = ({ one, hook, flows, rounds }: Measured): Figure => {
  const [{ net, floors } = { net: [], floors: [] }] = rounds;
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
};

/** Default sizes, or four times the flows where those would be too small. */
const roomy = (flows: number): number => Math.max(262_144, 4 * flows);

async function prepare(create: Create, first: Case, flows: number, plan: Plan): Promise<Rig> {
  const { needs, service = 'plain', frame } = first;
  const rig = await create({
    family: frame.family,
    established: roomy(flows),
    // To be established all flows are half-open for a moment; else the default, as a SYN meets it in life.
    halfOpen: needs === undefined ? 65_536 : roomy(flows),
    wrapper: plan.wrapper,
    cpu: plan.cpu,
  });
  rig.addService(frame.family, 'tcp', 1, service);
  rig.addService(frame.family, 'udp', 2, service);
  rig.placeAt(plan.devices, service === 'node' || service === 'local');
  establish(rig, first, flows);
  return rig;
}

/** All cases that share tables: of one service, and that need no flow, or the flows of one protocol. */
async function measureGroup(cases: readonly Case[], flows: number, plan: Plan): Promise<Measured[]> {
  const [first] = cases;
  if (first === undefined) return [];
  beginning(`bench: datapath, IPv${first.frame.family}, ${flows} flows, ${groupOf(first).trim()}`, 600);
  const rigs: Rig[] = [];
  try {
    for (const create of plan.revisions) rigs.push(await prepare(create, first, flows, plan));
    return cases.flatMap((one) =>
      one.hooks.map((hook) => ({ one, hook, flows, rounds: measure(rigs, hook, one, flows, plan.rounds) })),
    );
  } finally {
    for (const rig of rigs) rig.close();
  }
}

const groupOf = ({ service = 'plain', needs }: Case): string => `${service} ${needs ?? ''}`;

export interface Result {
  readonly method: object;
  readonly figures?: Figure[];
  readonly base?: string;
  readonly ratios?: Ratio[];
}

export async function run({ quick = false, against, only = '' }: Options = {}): Promise<Result> {
  const here: Create = (options) => Rig.create({ ...options, label: 'here' });
  const plan: Plan = {
    flows: quick ? [1, 16_384, 262_144] : [1, 1024, 16_384, 262_144, 1_048_576],
    // A ratio of few per cent needs more of them than a figure.
    rounds: (quick ? 5 : 11) * (against === undefined ? 1 : 3),
    cpu: availableParallelism() - 1,
    revisions: against === undefined ? [here] : [here, await otherRig(against)],
    wrapper: compileWrapper(),
    devices: buildRoutes(),
  };
  const measured: Measured[] = [];
  for (const family of [4, 6] as const) {
    for (const flows of plan.flows) {
      const cases = casesOf(family).filter(
        // One source port is there for all masqueraded clients, so one client it is.
        ({ service, name }) => (flows === 1 || service !== 'node') && name.includes(only),
      );
      for (const group of new Set(cases.map(groupOf))) {
        const members = cases.filter((one) => groupOf(one) === group);
        measured.push(...(await measureGroup(members, flows, plan)));
      }
    }
  }
  const method = {
    what: 'BPF_PROG_TEST_RUN; ns a packet, net of the same wrapper around nothing, paired a round; median, min, max',
    rounds: plan.rounds,
    cpu: plan.cpu,
    order: 'clients at random, in another order every time around',
  };
  if (against === undefined) return { method, figures: measured.map(figureOf) };
  const ratios = measured.map(({ one, hook, flows, rounds: [now, before] }) =>
    ratioOf({ case: one.name, hook, family: one.frame.family, flows }, before?.net ?? [], now?.net ?? []),
  );
  return { method: { ...method, what: comparison }, base: against, ratios };
}

const comparison =
  'BPF_PROG_TEST_RUN; ns a packet, net of the same wrapper around nothing, as a ratio to the other revision in the same round; median and quartiles';

const columns = ['case', 'hook', 'family', 'flows', 'median', 'min', 'max', 'floor'] as const;

/** ns a packet, one figure a line. */
export function show({ figures, ratios }: Result): string {
  if (ratios !== undefined) return table(ratios);
  const cells = (figures ?? []).map((figure) => columns.map((column) => String(figure[column])));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(14) : cell.padStart(8))).join('');
  return `${[[...columns], ...cells].map(line).join('\n')}\n`;
}
