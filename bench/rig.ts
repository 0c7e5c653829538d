// The unmodified programs over maps of their own, driven by the wrappers of wrap.bpf.c.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { native, type BpfMap, type BpfObject, type BpfProgram } from '../native/index.ts';
import { encode } from '../src/abi/codec.ts';
import {
  slbAddressFlags,
  slbBackend,
  slbBackendLists,
  slbDevice,
  slbDeviceRole,
  slbVerdict,
  slbFrontend,
  slbFrontendKey,
  slbFrontendKind,
  slbHook,
  slbService,
  slbServiceFlags,
  slbSet,
  verdicts,
  type MapName,
  type SlbFrontendRow,
  type VerdictName,
} from '../src/abi/layout.gen.ts';
import { readObjects } from '../src/kernel/objectfile.ts';
import { measureHz } from '../src/kernel/jiffies.ts';
import { loadDatapath, type Datapath, type DatapathConfig } from '../src/hooks/load.ts';
import type { Lifetimes } from '../src/maps/flowlife.ts';
import { parseAddress } from '../src/net/ip.ts';
import { configWith } from '../test/support/kernel/config.ts';
import { ownBpffs, sweepOnExit, sweepOwn } from '../test/support/run/owner.ts';
import { backendPort, ends, nodePort, servicePort, type Family, type Template } from './frames.ts';

export type Hook = 'xdp' | 'tcIn' | 'tcOut';

const root = fileURLToPath(new URL('../', import.meta.url));

/** Compiled at each run: it takes less time than to find out whether it must be. */
export function compileWrapper(name: 'wrap' | 'ports' = 'wrap'): Uint8Array {
  const object = join(root, `build/bench/${name}.bpf.o`);
  mkdirSync(join(root, 'build/bench'), { recursive: true });
  const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
  execFileSync('clang', [
    ...['-O2', '-g', '-target', 'bpf', '-mcpu=v2', '-std=gnu11', '-Wall', '-Wextra', '-Werror'],
    ...['-idirafter', `/usr/include/${machine}-linux-gnu`],
    ...['-c', join(root, `bench/${name}.bpf.c`), '-o', object],
  ]);
  return readFileSync(object);
}

const hookNumber = {
  tcIn: slbHook.HOOK_TC_IN,
  tcOut: slbHook.HOOK_TC_OUT,
  xdp: slbHook.HOOK_XDP,
} as const;

/**
 * plain: a cluster address; affine: the same with session affinity; node, local: a NodePort, for all or local backends.
 */
export type ServiceKind = 'plain' | 'affine' | 'node' | 'local';

const address = (text: string): Uint8Array => parseAddress(text) ?? new Uint8Array(16);
const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

/** struct bench_frame */
function benchFrame(template: Template, clients: number, slot: number): Uint8Array {
  const frame = new Uint8Array(96 + 6 * 4);
  frame.set(template.bytes);
  const { client, ipSum, l4Sum } = template;
  frame.set(
    new Uint8Array(Uint32Array.of(template.bytes.length, client, ipSum, l4Sum, clients - 1, slot).buffer),
    96,
  );
  return frame;
}

/** A wrapper and its floor, for one template and number of clients. */
export interface Pair {
  /** ns a run: the wrapper with the program behind it, and alone. */
  run(repeat: number): number;
  floor(repeat: number): number;
  close(): void;
}

export interface RigOptions {
  readonly family: Family;
  /** Rows of the flow tables of this family. */
  readonly established: number;
  readonly halfOpen: number;
  readonly wrapper: Uint8Array;
  readonly cpu: number;
  /** Of the ports that masqueraded connections are given. */
  readonly firstPort?: number;
  /** Of the folder with its pins: rigs of two revisions do not know each other's names. */
  readonly label?: string;
}

export class Rig {
  readonly #datapath: Datapath;
  readonly #folder: string;
  readonly #wrapper: Uint8Array;
  readonly #cpu: number;
  readonly hz: number;
  readonly #arrays: Readonly<Record<'bench_xdp' | 'bench_tc', BpfMap>>;

  private constructor(folder: string, datapath: Datapath, { wrapper, cpu }: RigOptions, hz: number) {
    this.hz = hz;
    this.#folder = folder;
    this.#datapath = datapath;
    this.#wrapper = wrapper;
    this.#cpu = cpu;
    this.#arrays = this.#programArrays();
  }

  static async create(options: RigOptions): Promise<Rig> {
    const { family, established, halfOpen, firstPort = 61_000 } = options;
    const hz = (await measureHz(native())) ?? 250;
    const mine = { established, halfOpen };
    const none = { established: 64, halfOpen: 64 };
    const [four, six] = family === 4 ? [mine, none] : [none, mine];
    const sizes: Partial<Record<MapName, number>> = {
      slb_flows4: four.established,
      slb_flows6: six.established,
      slb_half4: four.halfOpen,
      slb_half6: six.halfOpen,
    };
    const decided = { ...config, hz, snatPortMin: firstPort };
    sweepOnExit();
    const folder = ownBpffs(options.label ?? 'bench');
    return new Rig(folder, await load(folder, decided, sizes), options, hz);
  }

  /** Tail calls need programs in arrays, and only bpftool can put them there without handing descriptors around. */
  #programArrays(): Record<'bench_xdp' | 'bench_tc', BpfMap> {
    const { tcIn, tcOut, xdpIn } = this.#datapath.programs;
    const array = (name: string, programs: readonly BpfProgram[]): BpfMap => {
      const map = native().createMap({ type: 3, name, keySize: 4, valueSize: 4, maxEntries: 2 });
      map.pin(join(this.#folder, name));
      programs.forEach((program, slot) => {
        const pin = join(this.#folder, `${name}_${String(slot)}`);
        program.pin(pin);
        const key = [...u32(slot)].map(String);
        execFileSync('bpftool', [
          ...['map', 'update', 'pinned', join(this.#folder, name), 'key', ...key, 'value', 'pinned', pin],
        ]);
      });
      return map;
    };
    return { bench_xdp: array('bench_xdp', [xdpIn]), bench_tc: array('bench_tc', [tcIn, tcOut]) };
  }

  /** One service port with one backend, so that the reply's source is known. */
  addService(family: Family, protocol: 'tcp' | 'udp', slot: number, kind: ServiceKind = 'plain'): void {
    const { maps } = this.#datapath;
    const id = (1 << 20) | slot;
    const proto = protocol === 'tcp' ? 6 : 17;
    const maglevSize = 251;
    const { LIST_CLUSTER, LIST_LOCAL } = slbBackendLists;
    const backend = { addr: address(ends[family].backend), port: backendPort, proto };
    maps.slb_backends.put(
      u32(slot),
      encode(slbBackend, { ...backend, lists: LIST_CLUSTER | LIST_LOCAL, id, service: id }),
    );
    maps.slb_slots.put(u32(slot), u32(id));
    const set = { slots: slot, count: 1, maglev: 0, maglevSize }; // a new map is zeros: position 0 everywhere
    maps.slb_sets.put(u32(slot), encode(slbSet, set));
    const flags =
      slbServiceFlags.SVC_ANY_ENDPOINT | (kind === 'local' ? slbServiceFlags.SVC_EXTERNAL_LOCAL : 0);
    const affinitySec = kind === 'affine' ? 10_800 : 0;
    const row = { id, clusterSet: slot, localSet: slot, flags, affinitySec };
    maps.slb_services.put(u32(slot), encode(slbService, row));
    if (kind === 'plain' || kind === 'affine') this.#addClusterAddress(family, proto, id);
    else this.#addNodePort(family, proto, id);
  }

  #addClusterAddress(family: Family, proto: number, service: number): void {
    const { service: at } = ends[family];
    this.#putFrontend(at, servicePort, proto, { service, kind: slbFrontendKind.KIND_CLUSTER_IP, flags: 0 });
    const flags = slbAddressFlags.ADDR_SERVICE | slbAddressFlags.ADDR_CLUSTER;
    this.#putFrontend(at, 0, 0, { service: 0, kind: slbFrontendKind.KIND_ADDRESS, flags });
  }

  #addNodePort(family: Family, proto: number, service: number): void {
    const { node } = ends[family];
    const any = family === 4 ? '0.0.0.0' : '::';
    this.#putFrontend(any, nodePort, proto, { service, kind: slbFrontendKind.KIND_NODE_PORT, flags: 0 });
    const flags = slbAddressFlags.ADDR_NODE | slbAddressFlags.ADDR_NODE_PORT;
    this.#putFrontend(node, 0, 0, { service: 0, kind: slbFrontendKind.KIND_ADDRESS, flags });
  }

  #putFrontend(at: string, port: number, proto: number, row: SlbFrontendRow): void {
    const key = encode(slbFrontendKey, { addr: address(at), port, proto });
    this.#datapath.maps.slb_frontends.put(key, encode(slbFrontend, row));
  }

  /**
   * Test runs take place at lo: here it is a pod's device, or an uplink, and what is masqueraded has the node's address
   * everywhere. XDP opens nothing at a device whose address it does not know.
   */
  placeAt(ifindexes: readonly number[], outside: boolean): void {
    const [four, six] = [address(ends[4].node), address(ends[6].node)];
    const row = {
      addr4: new DataView(four.buffer, four.byteOffset).getUint32(12),
      addr6: six,
      mac: Uint8Array.of(2, 0, 0, 0, 0, 1),
      rpFilter: 0,
      bridge: 0,
      ...{ rpFilter6: 0, lower: 0, vlan: 0 },
      role: outside ? slbDeviceRole.DEV_UPLINK : slbDeviceRole.DEV_POD,
      netns: 0xffffffff,
    };
    for (const ifindex of ifindexes)
      this.#datapath.maps.slb_devices.put(u32(ifindex), encode(slbDevice, row));
  }

  /** Some programs of the wrapper, loaded with this constant, in front of those of the datapath. */
  open(constant: Uint8Array, programs: readonly string[]): BpfObject {
    const object = native().openObject(this.#wrapper, 'bench');
    object.setInitialValue('.rodata.bench', constant);
    for (const [name, map] of Object.entries(this.#arrays))
      if (object.maps().includes(name)) object.reuseMap(name, map);
    for (const name of object.programs()) object.setAutoload(name, programs.includes(name));
    object.load();
    return object;
  }

  pair(hook: Hook, template: Template, clients: number): Pair {
    const type = hook === 'xdp' ? 'xdp' : 'tc';
    const names = [`bench_${type}_run`, `bench_${type}_floor`] as const;
    const object = this.open(benchFrame(template, clients, hook === 'tcOut' ? 1 : 0), names);
    const [run, floor] = [object.program(names[0]), object.program(names[1])];
    const time = (program: BpfProgram, repeat: number): number =>
      program.testRun({ data: template.bytes, repeat, cpu: this.#cpu }).duration;
    return {
      run: (repeat) => time(run, repeat),
      floor: (repeat) => time(floor, repeat),
      close: () => {
        run.close();
        floor.close();
        object.close();
      },
    };
  }

  map(name: MapName): BpfMap {
    return this.#datapath.maps[name];
  }

  /** How often since the start, over all CPUs. */
  counter(row: number): number {
    const values = this.map('slb_counters').get(u32(row));
    const cpus = new BigUint64Array(values?.slice().buffer ?? new ArrayBuffer(0));
    return Number(cpus.reduce((sum, value) => sum + value, 0n));
  }

  /** Packets by verdict at a hook since the start, over all CPUs. */
  verdicts(hook: Hook): Map<VerdictName, bigint> {
    const counts = new Map<VerdictName, bigint>();
    const rows = this.#datapath.maps.slb_verdicts;
    verdicts.forEach(({ name }, number) => {
      const values = rows.get(u32(hookNumber[hook] * slbVerdict.VERDICT_MAX + number));
      const cpus = new BigUint64Array(values?.slice().buffer ?? new ArrayBuffer(0));
      counts.set(
        name,
        cpus.reduce((sum, value) => sum + value, 0n),
      );
    });
    return counts;
  }

  close(): void {
    const { maps, programs } = this.#datapath;
    for (const map of Object.values<BpfMap>(maps)) map.close();
    for (const program of [programs.tcIn, programs.tcOut, programs.xdpIn]) program.close();
    for (const map of Object.values(this.#arrays)) map.close();
    sweepOwn();
  }
}

const hour = 3600;

/** Nothing that lives expires during a run. */
export const lifetimes: Lifetimes = {
  tcpSynSec: hour,
  tcpIdleSec: 24 * hour,
  tcpHalfClosedSec: hour,
  tcpClosedSec: 10,
  udpNewSec: hour,
  udpIdleSec: hour,
};

const config: DatapathConfig = configWith({ ...lifetimes, snatPortMax: 65_535 });

function load(
  bpffs: string,
  config: DatapathConfig,
  sizes: Partial<Record<MapName, number>>,
): Promise<Datapath> {
  return loadDatapath({ bpffs, objects: readObjects({ conntrack: false }), config, sizes });
}
