// The only file that loads the native module. Everything meaningful (names, layouts, texts) is decided in TypeScript;
// native code checks sizes, does the system call, and reports errno.
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SluiceError, messageOf } from '../src/errors.ts';

/** Thrown by every native function: operation and errno, no prose. */
export interface NativeError extends Error {
  readonly syscall: string; // e.g. "bpf_map_update_elem"
  readonly errno: number; // positive
  readonly code: string; // e.g. "ENOENT"; ELIBBPF where libbpf itself refused
  /** Verifier log, for program loads. */
  readonly log?: string;
  /** Rows finished before the failure, for batches. */
  readonly done?: number;
}

/** Opaque handles; closed by finalizer or close(). */
export interface BpfObject {
  /** Map names in the object. */
  maps(): string[];
  programs(): string[];
  /** A map as the object declares it, before it exists: id 0. */
  definition(map: string): MapInfo;
  /** Fields of a map's rows, as the object was compiled. */
  layout(map: string): MapLayout;
  /** For a program that reads nothing of the values: of a map that is then reused. Before load. */
  setValueSize(map: string, bytes: number): void;
  /** Overwrite the initial content of an internal map such as ".rodata.slb". Length must match exactly. Before load. */
  setInitialValue(map: string, value: Uint8Array): void;
  setMaxEntries(map: string, entries: number): void;
  /** Use this pinned or open map instead of creating one. Key, value and type must agree, else EINVAL. */
  reuseMap(name: string, map: BpfMap): void;
  setAutoload(program: string, autoload: boolean): void;
  load(): void;
  /**
   * The same on a thread of its own: the verifier may take seconds. Until it has ended the object answers EBUSY to all
   * but close().
   */
  loadAsync(): Promise<void>;
  map(name: string): BpfMap;
  program(name: string): BpfProgram;
  close(): void;
}

export interface MapInfo {
  readonly name: string;
  readonly id: number;
  readonly type: number; // BPF_MAP_TYPE_*
  readonly keySize: number;
  readonly valueSize: number; // of one CPU
  readonly maxEntries: number;
  readonly flags: number;
}

export interface TypeField {
  readonly name: string; // "" of a type that is no struct
  readonly offset: number;
  readonly size: number;
}

export interface TypeLayout {
  readonly size: number;
  readonly fields: readonly TypeField[];
}

/** From BTF; undefined where there is none. */
export interface MapLayout {
  readonly key: TypeLayout | undefined;
  readonly value: TypeLayout | undefined;
}

export interface BpfMap {
  readonly info: MapInfo;
  /** Fields of its rows, by the BTF that it was made with. */
  layout(): MapLayout;
  /** undefined when absent. Per-CPU maps give valueSize rounded up to 8, times possible CPUs. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** flags: 0 any, 1 no-exist, 2 exist. */
  put(key: Uint8Array, value: Uint8Array, flags?: number): void;
  /** false when the key was not there. */
  delete(key: Uint8Array): boolean;
  /**
   * keys and values are packed rows; returns the number written. A failure's `done` says how many rows went before it.
   * Falls back to single calls where the kernel has no batch.
   */
  putBatch(keys: Uint8Array, values: Uint8Array, count: number): number;
  /** Deletes the packed keys; missing ones are ignored. Returns how many existed. */
  deleteBatch(keys: Uint8Array, count: number): number;
  /** Reads up to `max` entries from where `cursor` points (undefined: start). cursor undefined in the answer: end. */
  readBatch(
    cursor: Uint8Array | undefined,
    max: number,
  ): { keys: Uint8Array; values: Uint8Array; count: number; cursor: Uint8Array | undefined };
  /** No writes from user space any more. */
  freeze(): void;
  /** Maps a BPF_F_MMAPABLE array into memory; the ArrayBuffer stays valid until collected. */
  mmap(): ArrayBuffer;
  pin(path: string): void;
  close(): void;
}

export interface BpfProgram {
  readonly id: number;
  readonly name: string;
  readonly verifiedInstructions: number; // what the verifier walked; 0 before 5.16
  pin(path: string): void;
  /**
   * BPF_PROG_TEST_RUN, on the CPU asked for. `out` is the packet after the run (or the context for syscall programs).
   * duration: ns a run.
   */
  testRun(options: {
    data: Uint8Array;
    repeat?: number;
    context?: Uint8Array;
    outSize?: number;
    cpu?: number;
    flags?: number;
  }): {
    retval: number;
    duration: number;
    data: Uint8Array;
    context: Uint8Array | undefined;
  };
  close(): void;
}

export interface BpfLink {
  readonly id: number;
  readonly programId: number;
  /**
   * What it is attached to: ifindex of a tcx or XDP link, id of the cgroup of a cgroup link; 0 once that has gone, or
   * when detached.
   */
  readonly target: number;
  /** Atomically replaces the program. */
  update(program: BpfProgram): void;
  pin(path: string): void;
  detach(): void;
  close(): void;
}

export type TcDirection = 'ingress' | 'egress';
export type XdpMode = 'native' | 'generic' | 'offload';

export interface NetDevice {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly kind: string; // "veth", "bridge", "" for physical, …
  readonly mtu: number;
  readonly mac: string; // "" when it has none
  readonly arpType: number; // ARPHRD_*
  readonly master: number; // ifindex of its bridge or bond, 0 none
  readonly lower: number; // ifindex of the device below (VLAN, tunnel) or of the peer, 0 none or in another namespace
  readonly vlan: number; // id of a VLAN device, 0 of any other
  readonly peerNetns: number; // id by which ours knows the network namespace of its peer; -1: it is ours, or there is none
  readonly physical: boolean; // has a parent device (PCI, virtio …)
  readonly xdpProgramId: number; // 0 none
}

export interface NetAddress {
  readonly index: number;
  readonly address: string;
  readonly prefix: number;
  readonly scope: number;
  readonly flags: number; // IFA_F_*
}

/** What has happened since the last one; states are those of the messages, and may be older than what a dump says. */
export interface NetworkChange {
  readonly links: readonly NetDevice[]; // as they have become, oldest first
  readonly gone: readonly number[]; // interface indexes
  readonly addresses: boolean;
  readonly routes: boolean; // default routes of the main table
  readonly lost: boolean; // messages were lost: anything may have changed
}

export interface LinkMonitor {
  close(): void;
}

export interface AttachedProgram {
  readonly id: number;
  readonly name: string; // "" when it has just gone
}

export interface CgroupPrograms {
  readonly flags: number; // BPF_F_ALLOW_*; 0 with programs: no other may attach here or below
  readonly programs: readonly AttachedProgram[];
}

export interface SocketsToDestroy {
  readonly netns?: string; // path; absent: our own
  readonly protocol: 6 | 17;
  readonly family: 4 | 6; // of the socket: IPv4 addresses mapped into IPv6 are those of a socket of family 6
  readonly cookies: BigUint64Array; // as bpf_get_socket_cookie() tells them
}

/** A UDP socket wakes with ECONNABORTED and is no longer connected; sending gives EDESTADDRREQ. */
export interface DestroyedSockets {
  readonly destroyed: number; // fewer than asked for when some have been closed
  readonly cookieOfNetns: bigint;
}

export interface Native {
  /** Opens an ELF object from memory. */
  openObject(elf: Uint8Array, name: string): BpfObject;
  createMap(options: {
    type: number;
    name: string;
    keySize: number;
    valueSize: number;
    maxEntries: number;
    flags?: number;
  }): BpfMap;
  /** Loads a program without maps from raw instructions: for probes. */
  loadProgram(options: {
    type: number;
    name: string;
    instructions: Uint8Array;
    expectedAttachType?: number;
  }): BpfProgram;
  /** Ids of the maps that a program uses; none when it has gone. */
  mapsOfProgram(programId: number): number[];
  openPinnedMap(path: string): BpfMap;
  openPinnedProgram(path: string): BpfProgram;
  openPinnedLink(path: string): BpfLink;
  /** Behind all programs that are there, or before them. */
  attachTcx(program: BpfProgram, ifindex: number, direction: TcDirection, first?: boolean): BpfLink;
  /** Of all programs, in the order in which they run. EINVAL: the kernel has no tcx (before 6.6). */
  queryTcx(ifindex: number, direction: TcDirection): AttachedProgram[];
  /**
   * clsact + direct-action filter with this priority and handle; replaces one that is there. true when it made the
   * qdisc.
   */
  attachClsact(
    program: BpfProgram,
    ifindex: number,
    direction: TcDirection,
    priority: number,
    handle: number,
  ): boolean;
  /** false when it was not there. */
  detachClsact(ifindex: number, direction: TcDirection, priority: number, handle: number): boolean;
  /** Id of the program in this filter, 0 when there is none. */
  queryClsact(ifindex: number, direction: TcDirection, priority: number, handle: number): number;
  /** All filters on the device's clsact qdisc; every protocol and chain counts by itself. */
  countClsact(ifindex: number): number;
  /** All filters at one of its hooks, as they are dumped: `name` is the program's, else the kind of filter. */
  listClsact(ifindex: number, direction: TcDirection): { priority: number; name: string }[];
  /** Removes the qdisc with all filters; false when it was not there. */
  removeClsact(ifindex: number): boolean;
  attachXdp(program: BpfProgram, ifindex: number, mode: XdpMode): BpfLink;
  attachCgroup(program: BpfProgram, cgroupPath: string, attachType: number): BpfLink;
  /** All that is attached to exactly this cgroup, its parents not counted. */
  queryCgroup(cgroupPath: string, attachType: number): CgroupPrograms;
  /** As bpf_get_current_cgroup_id() tells it. */
  cgroupId(cgroupPath: string): number;
  /** Devices, addresses and the interface indexes of default routes of the main table, in this network namespace. */
  devices(): NetDevice[];
  addresses(): NetAddress[];
  defaultRouteDevices(): number[];
  /** Calls back (coalesced, on the loop) whenever links, addresses or default routes changed. */
  monitorLinks(onChange: (change: NetworkChange) => void): LinkMonitor;
  /** Ring buffer: records in batches. */
  openRingBuffer(map: BpfMap, onBatch: (records: Uint8Array[]) => void): { close(): void };
  /**
   * Of this thread's network namespace, as bpf_get_netns_cookie() tells it; 0n where the kernel does not say (before
   * 5.14).
   */
  netnsCookie(): bigint;
  /**
   * Of the namespaces at these paths (/proc/PID/ns/net, /run/netns/NAME); 0n for one that has gone or may not be
   * entered.
   */
  netnsCookies(paths: readonly string[]): Promise<bigint[]>;
  /** false: the kernel lacks CONFIG_INET_DIAG_DESTROY. */
  canDestroySockets(): boolean;
  /**
   * Ends other processes' sockets (SOCK_DESTROY), of UDP those that are connected. EOPNOTSUPP: the kernel lacks
   * CONFIG_INET_DIAG_DESTROY.
   */
  destroySockets(options: SocketsToDestroy): Promise<DestroyedSockets>;
  /**
   * Takes the exclusive lock of an open file or folder, without waiting. false: another open file has it. Goes with
   * close().
   */
  flock(fd: number): boolean;
  /**
   * execv(): this process begins anew, with the same id and environment; `args` begin with its name. Returns only by
   * throwing.
   */
  exec(path: string, args: readonly string[]): void;
  possibleCpus(): number;
  libbpfVersion(): string;
}

const here = dirname(fileURLToPath(import.meta.url));

function locate(): string {
  // Beside the bundle in dist/, or in the source tree during development and tests.
  for (const candidate of [
    process.env['SLUICE_NATIVE'],
    join(here, 'sluice.node'),
    join(here, 'build/Release/sluice.node'),
    join(here, '../native/build/Release/sluice.node'),
  ]) {
    if (candidate !== undefined && existsSync(candidate)) return candidate;
  }
  throw new SluiceError('SLB_E_NATIVE', `no sluice.node beside ${here}`);
}

let loaded: Native | undefined;

/** The native module, loaded at first use so that commands without need of it run anywhere. */
export function native(): Native {
  if (loaded === undefined) {
    const path = locate();
    try {
      loaded = createRequire(import.meta.url)(path) as Native;
    } catch (error) {
      throw new SluiceError('SLB_E_NATIVE', messageOf(error), { cause: error });
    }
  }
  return loaded;
}
