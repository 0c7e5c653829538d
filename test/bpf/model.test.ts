// The programs against an independent model (test/support/model): random services through the agent's own tables,
// random packets of every kind, and after each of them the same verdict, the same backend and the same bytes.
//
//   SLUICE_MODEL_SECONDS=600 tries longer; SLUICE_SEED=n tries again what a failure has printed.
import '../support/run/alone.ts';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { encode } from '../../src/abi/codec.ts';
import { decode } from '../../src/abi/codec.ts';
import { slbFlow, slbFlowKey4, slbFlowKey6 } from '../../src/abi/layout.gen.ts';
import { Bench, type Outcome } from '../support/kernel/bpfrun.ts';
import { u32 } from '../support/kernel/rows.ts';
import { bothFamilies } from '../support/packet/addresses.ts';
import { Control, type Described } from '../support/model/control.ts';
import { Model, type Fate, type Host } from '../support/model/model.ts';
import type { Route } from '../support/model/plan.ts';
import { atOf, packetOf, type Known, type Packet } from '../support/model/packets.ts';
import { readFrame, type Read, type Tuple } from '../support/model/read.ts';
import {
  beginning,
  lost,
  narrow,
  nodeName,
  script,
  serviceNames,
  type Sent,
} from '../support/model/script.ts';
import { readWorld } from '../support/model/world.ts';
import { settled } from '../support/model/write.ts';
import { show } from '../support/packet/dissect.ts';
import { buildNode, hostFacts } from '../support/kernel/node.ts';
import { addressBytes } from '../support/packet/packet.ts';
import { holds, seeds } from '../support/run/property.ts';
import { familyOf } from '../../src/net/ip.ts';

const seconds = Number(process.env['SLUICE_MODEL_SECONDS'] ?? 8);
t.setTimeout((seconds + 120) * 1000);

const devices = buildNode();
// So many ticks a second that no test lasts one: time passes only where a script lets it.
const bench = new Bench({ config: { hz: 25_000, tcpIdleSec: 7200 } });
t.teardown(() => bench.close());
const control = new Control(bench, nodeName);
control.setHost(hostFacts(devices));

const canForward = bench.canForward();
const mtu = 1500;
const narrowMtu = 1280;
const podNets = ['10.1.', 'fd01:'];

/** The routing table of node.ts, for the addresses of packet tests. */
function route(src: string, dst: string): Route {
  if (src === '::1') return 'here'; // as the kernel does: loopback addresses are not served from outside
  const whose = bothFamilies.some((who) => [who.node, who.gateway, who.loopback].includes(dst));
  if (whose) return 'here';
  if (Object.values<string>(lost).includes(dst)) return 'nowhere';
  if (Object.values<string>(narrow).includes(dst)) return { ifindex: devices.uplink, mtu: narrowMtu };
  const near = podNets.some((net) => dst.startsWith(net));
  return { ifindex: near ? devices.pod : devices.uplink, mtu };
}

const host: Host = { route, config: bench.config };
const everyService = (list: readonly (Described | undefined)[]): Map<string, Described | undefined> =>
  new Map(serviceNames.map((name, index) => [name, list[index]]));

/** The source port that the program gave a new connection, from its table. */
function portGiven(tuple: Tuple): number {
  const four = familyOf(tuple.src) === 4;
  const { src, dst, sport, dport, proto } = tuple;
  const [from, to] = [addressBytes(src, four ? 4 : 6), addressBytes(dst, four ? 4 : 6)];
  const word = (bytes: Uint8Array): number => Buffer.from(bytes).readUInt32BE();
  const key = four
    ? encode(slbFlowKey4, { saddr: word(from), daddr: word(to), sport, dport, proto })
    : encode(slbFlowKey6, { saddr: from, daddr: to, sport, dport, proto });
  const row = bench.map(four ? 'slb_half4' : 'slb_half6').get(key);
  return row === undefined ? -1 : decode(slbFlow, row).sport;
}

const hashSeeds = fc.constantFrom(0, 1, 0x9e3779b9);
const filters = fc.constantFrom(0, 1, 2);

/** Packets by verdict. */
const met = new Map<string, number>();

/** Newer kernels do not test-run an skb that is shorter than the IP header which its type promises. */
function isStub(frame: Uint8Array): boolean {
  const type = ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
  return (type === 0x0800 && frame.length < 34) || (type === 0x86dd && frame.length < 54);
}

/** One script: the programs and the model side by side. */
class Race {
  readonly #model = new Model(host, readWorld(bench));
  readonly #connections: Known[] = [];
  readonly log: string[] = [];

  step(sent: Sent): void {
    const { step } = sent;
    if (step.do === 'age') {
      this.#age(step.seconds);
    } else if (step.do === 'edit') {
      control.program(new Map([[serviceNames[step.index] ?? 'a', step.to]]));
      this.#model.world = readWorld(bench);
      this.log.push(`edit ${String(step.index)} ${step.to === undefined ? 'deleted' : ''}`);
    } else {
      const packet = packetOf(sent, this.#connections, this.#model.world, devices);
      if (packet !== undefined) this.#packet(packet);
    }
  }

  #age(by: number): void {
    bench.age(by);
    bench.ageAffinity(by);
    bench.ageFragments(by);
    bench.ageSplits(by);
    this.#model.now += by;
    this.log.push(`${String(by)} s later`);
  }

  #packet(packet: Packet): void {
    const { frame, place } = packet;
    const at = { ...packet.at, forwarded: packet.at.forwarded && canForward };
    const { hook, ...where } = at;
    if (hook !== 'xdp' && isStub(frame)) return;
    const outcome = bench.run(hook, frame, where);
    const read = readFrame(frame);
    this.log.push(
      `${place.padEnd(7)} ${show(frame)}\n          ${outcome.verdict} ${outcome.action} ${show(outcome.packet)}`,
    );
    const fate = this.#model.send(at, frame, () => (typeof read === 'string' ? -1 : portGiven(read)));
    compare(packet, outcome, fate);
    met.set(fate.verdict, (met.get(fate.verdict) ?? 0) + 1);
    if (fate.split === true && canForward)
      this.#packet({ frame: outcome.packet, place: 'passing', at: atOf('passing', devices) });
    const { connection } = fate;
    if (connection === undefined || this.#connections.some((known) => known.connection === connection))
      return;
    const who = bothFamilies.find(({ family }) => family === familyOf(connection.request.src));
    if (who !== undefined) this.#connections.push({ connection, who, place });
  }

  /** What services counted is what the model opened. */
  get opened(): ReadonlyMap<number, number> {
    return this.#model.opened;
  }
}

function compare(packet: Packet, outcome: Outcome, fate: Fate): void {
  const { at, frame } = packet;
  assert.equal(outcome.verdict, fate.verdict, 'verdict');
  if (fate.verdict.startsWith('DROP')) {
    assert.equal(outcome.action, at.hook === 'xdp' ? 'drop' : 'shot', 'action');
  } else if (fate.refusal !== undefined) {
    assert.equal(outcome.action, 'redirect', 'action');
    compareRefusal(packet, outcome.packet, fate.refusal, fate.verdict);
  } else if (fate.way === 'gone') {
    assert.equal(outcome.action, 'shot', 'action');
  } else if (fate.written !== undefined) {
    const stays = fate.way === 'stack' ? 'next' : 'redirect';
    assert.equal(outcome.action, at.hook === 'xdp' ? 'pass' : stays, 'action');
    const { sums, frame: expected } = fate.written;
    assert.equal(hex(settled(outcome.packet, sums)), hex(settled(expected, sums)), 'packet');
  } else {
    assert.equal(outcome.action, at.hook === 'xdp' ? 'pass' : 'next', 'action');
    assert.equal(hex(outcome.packet), hex(frame), 'left as it is');
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** What an ICMP error in the packet's place says, by family. */
const errors: Readonly<Record<string, Readonly<Record<4 | 6, string>>>> = {
  REFUSED_TOO_BIG: { 4: 'ICMP 3/4', 6: 'ICMP 2/0' },
  REFUSED_TTL: { 4: 'ICMP 11/0', 6: 'ICMP 3/0' },
};

/** This node's address on the side where the packet came in. */
function nodeAt(ifindex: number, family: 4 | 6): string {
  const who = bothFamilies.find((one) => one.family === family);
  return (ifindex === devices.pod ? who?.gateway : who?.node) ?? '';
}

/**
 * The answer comes from the packet's destination, or from the node where that is a router; it is right in itself, and
 * quotes the packet.
 */
function compareRefusal(
  { frame, at: { ifindex } }: Packet,
  packet: Uint8Array,
  read: Read,
  verdict: string,
): void {
  const text = show(packet);
  assert.doesNotMatch(text.replace(/\{.*\}/, ''), /sum!/, 'checksums of the answer');
  const error = errors[verdict];
  const reset = read.proto === 6 && error === undefined;
  const ends = (address: string, port: number): string =>
    !reset ? address : read.family === 6 ? `[${address}]:${String(port)}` : `${address}:${String(port)}`;
  const kind = reset ? 'TCP R' : (error ?? { 4: 'ICMP 3/3', 6: 'ICMP 1/4' })[read.family];
  const from = verdict === 'REFUSED_TTL' ? nodeAt(ifindex, read.family) : ends(read.dst, read.dport);
  const expected = `${from} > ${ends(read.src, read.sport)} ${kind}`;
  assert.ok(text.includes(expected), `${text} should be ${expected}`);
  if (reset) return;
  const quote = packet.subarray(read.l3 + (read.family === 4 ? 20 : 40) + 8);
  assert.ok(quote.length >= 28, 'quotes the headers');
  assert.equal(
    hex(quote),
    hex(frame.subarray(read.l3, read.l3 + quote.length)),
    'quotes the packet as it came',
  );
}

t.test(
  `the programs do what the model says (S-39, S-40, S-43 … S-49, S-51, S-53 … S-55, S-57 … S-59, S-61, S-63 … S-68, S-71, S-72, S-75, S-77 … S-81, S-84 … S-87, S-89, S-90)`,
  (test) => {
    const property = fc.property(
      beginning,
      script,
      hashSeeds,
      filters,
      (services, steps, hashSeed, filter) => {
        bench.clearAll();
        control.setHost(hostFacts(devices, filter));
        bench.map('slb_seed').put(u32(0), u32(hashSeed));
        control.program(everyService([]));
        control.program(everyService(services));
        const race = new Race();
        try {
          for (const step of steps) race.step(step);
          for (const [service, count] of race.opened) {
            assert.equal(
              bench.stats('slb_svc_stats', service).connections,
              BigInt(count),
              'connections counted',
            );
          }
        } catch (error) {
          if (error instanceof Error) error.message += `\n${race.log.join('\n')}`;
          throw error;
        }
      },
    );
    const interruptAfterTimeLimit = (seconds * 1000) / seeds.length;
    holds(test, property, { numRuns: 1_000_000, interruptAfterTimeLimit, markInterruptAsFailure: false });
    const total = [...met.values()].reduce((sum, count) => sum + count, 0);
    test.ok(total > 0, `${String(total)} packets`);
    const counts = [...met].toSorted(([, a], [, b]) => b - a);
    test.comment(counts.map(([verdict, count]) => `${verdict} ${String(count)}`).join(', '));
    test.end();
  },
);
