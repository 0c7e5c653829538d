// Probes the features of this kernel and node. A needed one that is missing is an error; an optional one has a
// fallback.
import { messageOf, SluiceError, type ErrorCode } from '../errors.ts';
import { measureHz } from './jiffies.ts';
import { findIntruders } from './tcprograms.ts';
import { findBpffs, findCgroup, type Found } from './mounts.ts';
import { findPorts } from './ports.ts';
import { thisSystem, type System } from './system.ts';

export interface Feature {
  readonly name: string;
  /** First kernel that has it; "" where that does not depend on the version. */
  readonly since: string;
  /** The error when it is missing; undefined: there is a fallback. */
  readonly error: ErrorCode | undefined;
  readonly needed: boolean;
  readonly supported: boolean;
  readonly detail: string;
}

export interface FeatureOptions {
  readonly bpffs: string;
  readonly cgroup: string;
}

export interface Features {
  readonly list: readonly Feature[];
  readonly kernel: string;
  readonly hz: number;
  readonly cgroup: string; // folder
  readonly tcx: boolean;
  readonly socketErrors: boolean; // cgroup programs may set the error of a system call (bpf_set_retval())
  readonly conntrack: boolean; // programs may look up connections that netfilter tracks
}

const hzUnknown = 0;

/** Probes everything. Does not throw. */
export async function probeFeatures(options: FeatureOptions, system: System = thisSystem): Promise<Features> {
  const kernel = system.kernelRelease();
  const cgroup = findCgroup(options.cgroup, system);
  const nodeFeatures = [
    needed('root', 'SLB_E_NOT_ROOT', findCapabilities(system)),
    needed('kernel', 'SLB_E_KERNEL_OLD', { ok: isAtLeast(kernel, 5, 10), detail: kernel }, '5.10'),
    needed('BTF', 'SLB_E_NO_BTF', findBtf(system)),
    needed('native module', 'SLB_E_NATIVE', findNative(system)),
  ];
  // The other probes call the native module, and need privileges.
  const usable = nodeFeatures.every(({ supported }) => supported);
  const hz = usable ? await probeHz(system) : { hz: hzUnknown, ok: false, detail: notTried };
  const tcx = usable ? probeTcx(system) : { ok: false, detail: notTried };
  const socketErrors = usable ? probeSocketErrors(system) : { ok: false, detail: notTried };
  const conntrack = usable ? probeConntrack(system) : { ok: false, detail: notTried };
  const ending = usable ? probeEnding(system) : { ok: false, detail: notTried };
  const list = [
    ...nodeFeatures,
    needed(
      'BPF file system',
      'SLB_E_NO_BPFFS',
      usable ? findBpffs(options.bpffs, system) : { ok: false, detail: notTried },
    ),
    needed('cgroup v2', 'SLB_E_NO_CGROUP2', cgroup),
    needed('clock', 'SLB_E_CLOCK', hz),
    optional('tcx', '6.6', tcx),
    optional('place at tc', '', usable ? findPlace(system, tcx.ok) : { ok: false, detail: notTried }),
    optional('refusal at sockets', '6.1', socketErrors),
    optional('conntrack', '5.18', conntrack),
    optional('ending of UDP sockets', '', ending),
    optional('JIT', '', findJit(system)),
    optional('source ports', '', findPorts(system)),
    optional('batches on per-CPU arrays', '5.13', batches(kernel)),
  ];
  const able = { tcx: tcx.ok, socketErrors: socketErrors.ok, conntrack: conntrack.ok };
  return { list, kernel, hz: hz.hz, cgroup: cgroup.detail, ...able };
}

/** Throws the error of the first needed feature that is missing. */
export function requireFeatures(features: Features): void {
  for (const { error, supported, detail, name } of features.list) {
    if (error !== undefined && !supported) throw new SluiceError(error, `${name}: ${detail}`);
  }
}

/** Throws SLB_E_NOT_ROOT without the capabilities that programs and maps need, also to remove them. */
export function requireRights(system: System = thisSystem): void {
  const { ok, detail } = findCapabilities(system);
  if (!ok) throw new SluiceError('SLB_E_NOT_ROOT', detail);
}

const notTried = 'not checked: a feature above is missing';

function needed(name: string, error: ErrorCode, { ok, detail }: Found, since = ''): Feature {
  return { name, since, error, needed: true, supported: ok, detail };
}

function optional(name: string, since: string, { ok, detail }: Found): Feature {
  return { name, since, error: undefined, needed: false, supported: ok, detail };
}

const capabilities = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n, CAP_PERFMON: 38n, CAP_BPF: 39n } as const;

function findCapabilities(system: System): Found {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(system.readText('/proc/self/status') ?? '')?.[1] ?? '0';
  const effective = BigInt(`0x${mask}`);
  const missing = Object.entries(capabilities).filter(([, bit]) => ((effective >> bit) & 1n) === 0n);
  if (missing.length === 0) return { ok: true, detail: 'all capabilities needed' };
  return { ok: false, detail: `without ${missing.map(([name]) => name).join(', ')}` };
}

/** Of a release such as 6.1.0-37-amd64. */
export function isAtLeast(release: string, major: number, minor: number): boolean {
  const [, haveMajor = '0', haveMinor = '0'] = /^(\d+)\.(\d+)/.exec(release) ?? [];
  return Number(haveMajor) > major || (Number(haveMajor) === major && Number(haveMinor) >= minor);
}

function findBtf(system: System): Found {
  const path = '/sys/kernel/btf/vmlinux';
  return { ok: system.exists(path), detail: system.exists(path) ? path : `no ${path}` };
}

function findNative(system: System): Found {
  try {
    return { ok: true, detail: `libbpf ${system.native().libbpfVersion()}` };
  } catch (error) {
    return { ok: false, detail: messageOf(error) };
  }
}

async function probeHz(system: System): Promise<Found & { hz: number }> {
  try {
    const hz = await measureHz(system.native());
    if (hz === undefined) return { ok: false, hz: hzUnknown, detail: 'jiffies have none of the known rates' };
    return { ok: true, hz, detail: `${String(hz)} jiffies a second` };
  } catch (error) {
    return { ok: false, hz: hzUnknown, detail: messageOf(error) };
  }
}

const noSuchDevice = 0x7fff_ffff;
const schedCls = 3;
// r0 = -1 (TC_ACT_UNSPEC: the next program decides); exit
const passOn = Uint8Array.of(0xb7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x95, 0, 0, 0, 0, 0, 0, 0);

/** Attaches to a device that cannot exist: the error is ENODEV with tcx, and EINVAL without. */
function probeTcx(system: System): Found {
  const program = system.native().loadProgram({ type: schedCls, name: 'slb_probe', instructions: passOn });
  try {
    system.native().attachTcx(program, noSuchDevice, 'ingress').close();
    return { ok: true, detail: 'links' };
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ENODEV') return { ok: true, detail: 'links' };
    return { ok: false, detail: 'clsact filters instead' };
  } finally {
    program.close();
  }
}

function findPlace(system: System, tcx: boolean): Found {
  try {
    const intruders = findIntruders(system.native(), tcx ? 'tcx' : 'clsact');
    if (intruders.length === 0) return { ok: true, detail: 'before the programs of others' };
    return { ok: false, detail: `after programs that may hide packets: ${intruders.join('; ')}` };
  } catch (error) {
    return { ok: false, detail: messageOf(error) };
  }
}

const cgroupSockAddr = 18;
const cgroupInet4Connect = 10;
// r1 = -111; call bpf_set_retval; r0 = 1; exit
const setRetval = Uint8Array.of(
  ...[0xb7, 1, 0, 0, 0x91, 0xff, 0xff, 0xff],
  ...[0x85, 0, 0, 0, 187, 0, 0, 0],
  ...[0xb7, 0, 0, 0, 1, 0, 0, 0],
  ...[0x95, 0, 0, 0, 0, 0, 0, 0],
);

function probeSocketErrors(system: System): Found {
  try {
    const program = { type: cgroupSockAddr, expectedAttachType: cgroupInet4Connect, name: 'slb_probe' };
    system
      .native()
      .loadProgram({ ...program, instructions: setRetval })
      .close();
    return { ok: true, detail: 'connect() ends with ECONNREFUSED' };
  } catch {
    return { ok: false, detail: 'connect() is rejected by a packet' };
  }
}

/** Loads a program that looks up connections: the kernel promises nothing of the functions which that takes. */
function probeConntrack(system: System): Found {
  const lacking =
    'masqueraded connections older than a NodePort with their source port lose their replies to it';
  try {
    const object = system.native().openObject(system.object('conntrack'), 'sluice_ct');
    try {
      object.load();
    } finally {
      object.close();
    }
    return { ok: true, detail: 'masqueraded connections are told from clients of NodePorts' };
  } catch {
    return { ok: false, detail: lacking };
  }
}

function probeEnding(system: System): Found {
  const lacking = 'no CONFIG_INET_DIAG_DESTROY: connected UDP sockets keep backends that were removed';
  try {
    const ok = system.native().canDestroySockets();
    return { ok, detail: ok ? 'when their backend is removed' : lacking };
  } catch (error) {
    return { ok: false, detail: messageOf(error) };
  }
}

function findJit(system: System): Found {
  const value = system.readText('/proc/sys/net/core/bpf_jit_enable')?.trim();
  // The file is missing with CONFIG_BPF_JIT_ALWAYS_ON, or without access to the sysctls of the host.
  if (value === undefined) return { ok: true, detail: 'always on' };
  return {
    ok: value !== '0',
    detail:
      value === '0'
        ? 'off: programs are interpreted, which is many times slower: set net.core.bpf_jit_enable=1'
        : 'on',
  };
}

function batches(kernel: string): Found {
  const ok = isAtLeast(kernel, 5, 13);
  return { ok, detail: ok ? 'counters are read in batches' : 'counters are read row by row' };
}
