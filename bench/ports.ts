// Connections through one masquerade address to one backend, opened and closed at a rate that uses up all ports in two
// seconds: how many are refused one. The unmodified programs in BPF_PROG_TEST_RUN; flow tables of default sizes, swept
// as the agent does.
import '../test/support/run/alone.ts';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { native } from '../native/index.ts';
import { slbCounter, type VerdictName } from '../src/abi/layout.gen.ts';
import { openJiffies } from '../src/kernel/jiffies.ts';
import { sweep } from '../src/maps/sweep.ts';
import { parseAddress } from '../src/net/ip.ts';
import { buildRoutes } from './datapath.ts';
import { backendPort, ends, nodePort } from './frames.ts';
import { compileWrapper, lifetimes, Rig } from './rig.ts';

export interface PortsFigures {
  readonly method: string;
  readonly ports: number;
  readonly seconds: number;
  /** What was asked for, what became of it, and the least of any second. */
  readonly wantedPerSec: number;
  readonly openedPerSec: number;
  readonly leastPerSec: number;
  readonly connections: number;
  /** By verdict of their first packets. */
  readonly noPort: number;
  readonly otherwiseLost: number;
  /**
   * Ports that were tried because the client's own was taken, and those that were taken over from a connection that was
   * over.
   */
  readonly portsTried: number;
  readonly portsReused: number;
  /** CPU of a whole connection, six segments. */
  readonly nsPerConnection: number;
  readonly sweeps: number;
}

const segments = 6; // as in ports.bpf.c
const wantedPerSec = 30_000;
const sizes = { established: 262_144, halfOpen: 65_536 };
const firstPort = 1024;
const lastPort = 65_535;
const most = wantedPerSec / 2; // connections a test run, which cannot be interrupted: what a busy machine held up is made up for
const sweepEveryMs = 10_000;
const sweepShare = 100; // as in maps/plane.ts

const fourBytes = (address: string): Uint8Array => (parseAddress(address) ?? new Uint8Array(16)).subarray(12);

/** struct bench_ends */
function benchEnds(): Uint8Array {
  const bytes = new Uint8Array(16);
  const { client, node, backend } = ends[4];
  [client, node, backend].forEach((address, at) => bytes.set(fourBytes(address), at * 4));
  const view = new DataView(bytes.buffer);
  view.setUint16(12, nodePort);
  view.setUint16(14, backendPort);
  return bytes;
}

export async function run({ quick }: { quick: boolean }): Promise<PortsFigures> {
  const seconds = quick ? 10 : 60;
  const wrapper = compileWrapper('ports');
  const cpu = availableParallelism() - 1;
  const rig = await Rig.create({ family: 4, ...sizes, wrapper, cpu, firstPort });
  try {
    rig.addService(4, 'tcp', 1, 'node');
    rig.placeAt(buildRoutes(), true);
    const object = rig.open(benchEnds(), ['bench_ports']);
    const data = new Uint8Array(54);
    data.set([2, 0, 0, 0, 0, 1]);
    const sweeper = startSweeping(rig);
    const driven = await drive((connections) => {
      const repeat = connections * segments;
      const { duration } = object.program('bench_ports').testRun({ data, repeat });
      return duration * repeat;
    }, seconds);
    const sweeps = await sweeper.stop();
    object.close();
    return { ...driven, ...outcome(rig, driven.connections), seconds, sweeps };
  } finally {
    rig.close();
  }
}

interface Driven {
  readonly wantedPerSec: number;
  readonly openedPerSec: number;
  readonly leastPerSec: number;
  readonly connections: number;
  readonly nsPerConnection: number;
}

/** As many as are due since the beginning, again and again. */
async function drive(open: (connections: number) => number, seconds: number): Promise<Driven> {
  const begun = performance.now();
  const bySecond = Array.from({ length: seconds }, () => 0);
  let connections = 0;
  let ns = 0;
  for (;;) {
    const passed = (performance.now() - begun) / 1000;
    if (passed >= seconds) break;
    const due = Math.min(most, Math.floor(passed * wantedPerSec) - connections);
    if (due > 0) ns += open(due);
    connections += Math.max(0, due);
    bySecond[Math.floor(passed)]! += Math.max(0, due);
    await sleep(5);
  }
  return {
    wantedPerSec,
    openedPerSec: Math.round(connections / ((performance.now() - begun) / 1000)),
    leastPerSec: Math.min(...bySecond),
    connections,
    nsPerConnection: Math.round(ns / connections),
  };
}

/** The agent's sweep of expired flows, as often as the agent's. */
function startSweeping(rig: Rig): { stop: () => Promise<number> } {
  const jiffies = openJiffies(native());
  const clock = { hz: rig.hz, now: () => jiffies.now() };
  const ended = new AbortController();
  const stopped = (): boolean => ended.signal.aborted;
  const work = async (): Promise<number> => {
    let sweeps = 0;
    for (let rest = sweepEveryMs; ; sweeps++) {
      await sleep(rest, undefined, { signal: ended.signal }).catch(() => undefined);
      if (stopped()) break;
      const { cpuMs } = await sweep({ map: (name) => rig.map(name), clock, lifetimes, stopped });
      rest = Math.max(sweepEveryMs, cpuMs * sweepShare);
    }
    jiffies.close();
    return sweeps;
  };
  const done = work();
  return {
    stop: () => {
      ended.abort();
      return done;
    },
  };
}

function outcome(rig: Rig, connections: number) {
  const verdicts = rig.verdicts('tcIn');
  const count = (name: VerdictName): number => Number(verdicts.get(name) ?? 0n);
  const noPort = count('DROP_NO_PORT');
  return {
    method:
      'BPF_PROG_TEST_RUN of slb_tc_in at an uplink; a connection is SYN, SYN-ACK, ACK, FIN, FIN-ACK and ACK without a pause; clients, their ports and sequence numbers at random',
    ports: lastPort - firstPort + 1,
    noPort,
    otherwiseLost: connections - noPort - count('REQUEST_NEW'),
    portsTried: rig.counter(slbCounter.COUNTER_SNAT_PORT_TAKEN),
    portsReused: rig.counter(slbCounter.COUNTER_SNAT_PORT_REUSED),
  };
}
