// The real objects, loaded into the kernel over small maps of their own, and run on single packets (BPF_PROG_TEST_RUN).
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native, type BpfMap, type BpfObject, type BpfProgram } from '../../../native/index.ts';
import { decode, encode } from '../../../src/abi/codec.ts';
import * as abi from '../../../src/abi/layout.gen.ts';
import type { MapName, VerdictName } from '../../../src/abi/layout.gen.ts';
import type { ObjectName } from '../../../src/kernel/objectfile.ts';
import { statsOf, sumWords, verdictCounts, verdictsBetween } from './counts.ts';
import { Rows, u32 } from './rows.ts';
import { configWith } from './config.ts';
import { lifetimes } from './realmaps.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');

export type Hook = 'in' | 'out' | 'xdp';

export interface Outcome {
  readonly verdict: VerdictName;
  /** What the program returned, by name. */
  readonly action: string;
  readonly packet: Uint8Array;
}

export interface RunOptions {
  /** At egress: the packet came in by a device, so it is not this host's own. */
  readonly forwarded?: boolean;
  /** The device at whose hook it is seen; lo unless given. */
  readonly ifindex?: number;
}

const tcActions: Readonly<Record<number, string>> = { [-1]: 'next', 0: 'ok', 2: 'shot', 7: 'redirect' };
const xdpActions: Readonly<Record<number, string>> = {
  0: 'aborted',
  1: 'drop',
  2: 'pass',
  3: 'tx',
  4: 'redirect',
};

/** Small, so that a test file loads in no time and a full table is soon reached. */
export const smallMaps: Readonly<Partial<Record<MapName, number>>> = {
  slb_frontends: 1024,
  slb_services: 256,
  slb_sets: 256,
  slb_slots: 4096,
  slb_maglev: 65536,
  slb_backends: 1024,
  slb_flows4: 4096,
  slb_flows6: 4096,
  slb_half4: 4096,
  slb_half6: 4096,
  slb_affinity: 4096,
  slb_fragments: 256,
  slb_queued: 256,
  slb_svc_stats: 256,
  slb_be_stats: 1024,
};

export const testConfig = configWith({
  hz: 250, // any number does: tests move time stamps by it, and compare nothing with a wall clock
  ...lifetimes,
  serviceSlots: 256,
  backendSlots: 1024,
  setSlots: 256,
  slotRows: 4096,
  maglevRows: 65536,
  snatPortMin: 61000,
  snatPortMax: 65535,
});

export function objectFile(name: ObjectName | 'abi'): Uint8Array {
  return readFileSync(join(root, 'bpf/out', `${name}.bpf.o`));
}

/** Compiles what has changed; costs nothing otherwise. */
export function buildObjects(): void {
  execFileSync('make', ['-s', '-C', join(root, 'bpf')], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function open(
  name: ObjectName,
  sizes: Partial<Record<MapName, number>>,
  config: abi.SlbConfigRow,
): BpfObject {
  const object = native().openObject(objectFile(name), name);
  object.setInitialValue(abi.configMap, encode(abi.slbConfig, config));
  for (const [map, entries] of Object.entries(sizes)) object.setMaxEntries(map, entries);
  return object;
}

/** A packet may end as an ICMP error about itself, or as a fragment that waited for it (slb_queued.frame). */
const roomToGrow = 2_304;

export interface BenchOptions {
  readonly sizes?: Partial<Record<MapName, number>>;
  readonly config?: Partial<abi.SlbConfigRow>;
  /** The programs that ask netfilter for connections. */
  readonly conntrack?: boolean;
}

export class Bench extends Rows {
  readonly #programs: Readonly<Record<Hook, BpfProgram>>;
  readonly #maps: ReadonlyMap<string, BpfMap>;
  readonly #objects: readonly BpfObject[];
  readonly config: abi.SlbConfigRow;
  #movable: boolean | undefined;

  constructor(options: BenchOptions = {}) {
    super();
    buildObjects();
    const sizes = { ...smallMaps, ...options.sizes };
    this.config = { ...testConfig, ...options.config };
    const { config } = this;
    const variant = options.conntrack ? '-conntrack' : '';
    const tc = open(`tc${variant}`, sizes, config);
    tc.load();
    const xdp = open(`xdp${variant}`, sizes, config);
    const names = Object.keys(abi.maps).filter((name) => tc.maps().includes(name));
    this.#maps = new Map(names.map((name) => [name, tc.map(name)]));
    for (const name of xdp.maps()) if (name in abi.maps) xdp.reuseMap(name, this.map(name as MapName));
    xdp.load();
    this.#programs = {
      in: tc.program('slb_tc_in'),
      out: tc.program('slb_tc_out'),
      xdp: xdp.program('slb_xdp_in'),
    };
    this.#objects = [tc, xdp];
    // Where XDP tells no device it is lo's: it translates nothing by one that it has not been told of.
    this.addDevice(abi.slbLimits.LOOPBACK, { role: 'pod' });
  }

  /** Whether a test run can pretend that a packet came in by a device: 5.10 refuses such a context. */
  canForward(): boolean {
    return this.#takes('out', { forwarded: true });
  }

  /** Whether it can pretend to take place at a device; before 5.14 XDP is always at lo. */
  canPlace(hook: Hook): boolean {
    return this.#takes(hook, { ifindex: abi.slbLimits.LOOPBACK });
  }

  /** For test runs of one's own. */
  contextAt(hook: Hook, options: RunOptions): Uint8Array | undefined {
    return contextOf(hook, new Uint8Array(64), options);
  }

  #xdpMoves(): boolean {
    this.#movable ??= this.#takes('xdp', { ifindex: abi.slbLimits.LOOPBACK });
    return this.#movable;
  }

  #takes(hook: Hook, options: RunOptions): boolean {
    try {
      const data = new Uint8Array(64);
      const context = contextOf(hook, data, options);
      this.#programs[hook].testRun({ data, ...(context === undefined ? {} : { context }) });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false;
      throw error;
    }
  }

  map(name: MapName): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new Error(`no map ${name}`);
    return map;
  }

  program(hook: Hook): BpfProgram {
    return this.#programs[hook];
  }

  close(): void {
    for (const program of Object.values(this.#programs)) program.close();
    for (const object of this.#objects) object.close();
  }

  /** Runs one packet; exactly one verdict must have been counted. */
  run(hook: Hook, packet: Uint8Array, options: RunOptions = {}): Outcome {
    // Where XDP is always at lo, that counts as outside too: it is no pod's.
    const context = hook === 'xdp' && !this.#xdpMoves() ? undefined : contextOf(hook, packet, options);
    const before = this.verdicts(hook);
    const result = this.#programs[hook].testRun({
      data: packet,
      outSize: packet.length + roomToGrow,
      ...(context === undefined ? {} : { context }),
    });
    const counted = verdictsBetween(before, this.verdicts(hook));
    const [verdict] = counted;
    if (verdict === undefined || counted.length > 1)
      throw new Error(`${counted.length} verdicts were counted`);
    const names = hook === 'xdp' ? xdpActions : tcActions;
    const action = result.retval | 0;
    return { verdict, action: names[action] ?? String(action), packet: result.data };
  }

  /** What happened so far besides, by name. */
  counters(): Record<abi.CounterName, bigint> {
    const rows = abi.counters.map(({ name }, i): [string, bigint] => [
      name,
      sumWords(this.map('slb_counters').get(u32(i)) ?? new Uint8Array(0)),
    ]);
    return Object.fromEntries(rows) as Record<abi.CounterName, bigint>;
  }

  verdicts(hook: Hook): bigint[] {
    const first = { in: abi.slbHook.HOOK_TC_IN, out: abi.slbHook.HOOK_TC_OUT, xdp: abi.slbHook.HOOK_XDP }[
      hook
    ];
    return verdictCounts(this.map('slb_verdicts'), first);
  }

  stats(name: 'slb_svc_stats' | 'slb_be_stats', id: number): abi.SlbStatsRow {
    return statsOf(this.map(name), id);
  }

  /** Every flow of a family that is not dead, by "tier saddr:sport > daddr:dport". */
  flows(family: 4 | 6): Map<string, abi.SlbFlowRow> {
    const found = new Map<string, abi.SlbFlowRow>();
    for (const tier of ['flows', 'half'] as const) {
      this.eachFlow(tier, family, (key, flow) => {
        if (flow.dead === 0) found.set(`${tier} ${keyText(key, family)}`, flow);
      });
    }
    return found;
  }

  eachFlow(
    tier: 'flows' | 'half',
    family: 4 | 6,
    visit: (key: Uint8Array, flow: abi.SlbFlowRow) => void,
  ): void {
    const map = this.map(`slb_${tier}${family}`);
    const { keys, values, count } = map.readBatch(undefined, map.info.maxEntries);
    for (let i = 0; i < count; i++) {
      const key = keys.slice(i * map.info.keySize, (i + 1) * map.info.keySize);
      visit(key, decode(abi.slbFlow, values, i * abi.slbFlow.size));
    }
  }

  /** Lets every flow look as if its last packet had come so much earlier. */
  age(seconds: number): void {
    for (const family of [4, 6] as const) {
      for (const tier of ['flows', 'half'] as const) {
        this.eachFlow(tier, family, (key, flow) => {
          const seen = (flow.seen - seconds * this.config.hz) >>> 0;
          this.map(`slb_${tier}${family}`).put(key, encode(abi.slbFlow, { ...flow, seen }));
        });
      }
    }
  }

  /** Lets every client look as if its last connection to a service with affinity had come so much earlier. */
  ageAffinity(seconds: number): void {
    this.eachAffinity((key, entry) => {
      const seen = (entry.seen - seconds * this.config.hz) >>> 0;
      this.map('slb_affinity').put(
        encode(abi.slbAffinityKey, key),
        encode(abi.slbAffinity, { ...entry, seen }),
      );
    });
  }

  /** The same of the fragments that later ones may still follow. */
  ageFragments(seconds: number): void {
    this.#each('slb_fragments', (key, value) => {
      const fragment = decode(abi.slbFragment, value);
      const seen = (fragment.seen - seconds * this.config.hz) >>> 0;
      this.map('slb_fragments').put(key, encode(abi.slbFragment, { ...fragment, seen }));
    });
    this.#each('slb_queued', (key, value) => {
      const parked = decode(abi.slbQueued, value);
      const seen = (parked.seen - seconds * this.config.hz) >>> 0;
      this.map('slb_queued').put(key, encode(abi.slbQueued, { ...parked, seen }));
    });
  }

  /** The same of packets that the stack is to fragment. */
  ageSplits(seconds: number): void {
    this.#each('slb_oversize', (key, value) => {
      const row = decode(abi.slbOversize, value);
      const seen = (row.seen - seconds * this.config.hz) >>> 0;
      this.map('slb_oversize').put(key, encode(abi.slbOversize, { ...row, seen }));
    });
  }

  /** As many errors may be sent as in a burst. */
  fillBucket(): void {
    const map = this.map('slb_bucket');
    map.put(u32(0), new Uint8Array(map.get(u32(0))?.length ?? 0));
  }

  /** Forgets clients and fragments too. */
  clearAll(): void {
    this.clearFlows();
    this.fillBucket();
    for (const name of ['slb_affinity', 'slb_fragments', 'slb_queued', 'slb_oversize'] as const) {
      this.#each(name, (key) => this.map(name).delete(key));
    }
  }

  #each(name: MapName, visit: (key: Uint8Array, value: Uint8Array) => void): void {
    const map = this.map(name);
    const { keySize, valueSize, maxEntries } = map.info;
    const { keys, values, count } = map.readBatch(undefined, maxEntries);
    for (let i = 0; i < count; i++)
      visit(keys.slice(i * keySize, (i + 1) * keySize), values.slice(i * valueSize, (i + 1) * valueSize));
  }

  eachAffinity(visit: (key: abi.SlbAffinityKeyRow, entry: abi.SlbAffinityRow) => void): void {
    const map = this.map('slb_affinity');
    const { keys, values, count } = map.readBatch(undefined, map.info.maxEntries);
    for (let i = 0; i < count; i++) {
      const key = decode(abi.slbAffinityKey, keys, i * abi.slbAffinityKey.size);
      visit(key, decode(abi.slbAffinity, values, i * abi.slbAffinity.size));
    }
  }

  clearFlows(): void {
    for (const family of [4, 6] as const) {
      for (const tier of ['flows', 'half'] as const) {
        this.eachFlow(tier, family, (key) => this.map(`slb_${tier}${family}`).delete(key));
      }
    }
  }
}

function keyText(key: Uint8Array, family: 4 | 6): string {
  const row = family === 4 ? decode(abi.slbFlowKey4, key) : decode(abi.slbFlowKey6, key);
  const text = (address: number | Uint8Array): string =>
    typeof address === 'number'
      ? [address >>> 24, (address >> 16) & 255, (address >> 8) & 255, address & 255].join('.')
      : Buffer.from(address).toString('hex');
  return `${text(row.saddr)}:${row.sport} > ${text(row.daddr)}:${row.dport}`;
}

/** struct __sk_buff, or struct xdp_md, as far as a test run takes it. */
function contextOf(hook: Hook, packet: Uint8Array, options: RunOptions): Uint8Array | undefined {
  const { forwarded = false, ifindex = 0 } = options;
  if (!forwarded && ifindex === 0) return undefined;
  const context = new Uint8Array(hook === 'xdp' ? 24 : 192);
  const view = new DataView(context.buffer);
  const little = endianness() === 'LE';
  if (hook === 'xdp') {
    view.setUint32(4, packet.length, little); // data_end
    view.setUint32(12, ifindex, little);
  } else {
    view.setUint32(36, forwarded ? 1 : 0, little); // ingress_ifindex
    view.setUint32(40, ifindex, little);
  }
  return context;
}
