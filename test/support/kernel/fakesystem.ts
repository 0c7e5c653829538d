// A machine made up for the feature probes: everything is there unless told otherwise.
import type { BpfObject, BpfProgram, Native } from '../../../native/index.ts';
import { eth0 } from './devices.ts';
import type { System } from '../../../src/kernel/system.ts';

const cilium = { id: 7, name: 'cil_from_netdev' };
const ourProgram = { id: 8, name: 'slb_tc_in' };

const bpfMagic = 0xcafe4a11;
const cgroup2Magic = 0x63677270;
const tmpfsMagic = 0x01021994;

export interface Made {
  readonly release: string;
  readonly capEff: string; // hexadecimal, as in /proc/self/status
  readonly missing: readonly string[]; // paths that do not exist
  readonly mounts: string;
  readonly bpffs: boolean; // mounted at /sys/fs/bpf
  readonly readOnly: boolean; // what is mounted there
  readonly mountComplaint: string;
  readonly nativeError: string;
  readonly hz: number;
  readonly tcx: boolean;
  readonly destroys: boolean; // sockets
  readonly conntrack: boolean; // may be looked into by programs
  readonly behind: boolean; // a program of others stands before ours
  readonly jit: string;
  readonly localPorts: string;
  readonly reservedPorts: string;
}

const complete: Made = {
  release: '6.6.1-test',
  capEff: '000001ffffffffff',
  missing: [],
  mounts: 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n',
  bpffs: true,
  readOnly: false,
  mountComplaint: '',
  nativeError: '',
  hz: 250,
  tcx: true,
  destroys: true,
  conntrack: true,
  behind: false,
  jit: '1\n',
  localPorts: '32768\t60999\n',
  reservedPorts: '\n',
};

function fakeNative({ hz, tcx, destroys, behind, conntrack }: Made): Native {
  // Jiffies follow this process's clock, so that the measurement finds the rate asked for.
  const jiffies = (): number => Math.floor((performance.now() / 1000) * hz) >>> 0;
  const program: Partial<BpfProgram> = {
    testRun: () => ({ retval: jiffies(), duration: 0, data: new Uint8Array(), context: undefined }),
    close: () => undefined,
  };
  const object: Partial<BpfObject> = {
    load: () => {
      if (!conntrack) throw Object.assign(new Error('bpf_object__load'), { code: 'EINVAL' });
    },
    close: () => undefined,
  };
  const made: Partial<Native> = {
    openObject: () => object as BpfObject,
    libbpfVersion: () => 'v1.1',
    canDestroySockets: () => destroys,
    devices: () => [{ ...eth0 }],
    queryTcx: () => (behind ? [cilium, ourProgram] : [ourProgram, cilium]),
    listClsact: () => [],
    loadProgram: () => program as BpfProgram,
    attachTcx: () => {
      throw Object.assign(new Error('bpf_link_create'), { code: tcx ? 'ENODEV' : 'EINVAL' });
    },
  };
  return made as Native;
}

export function fakeSystem(different: Partial<Made> = {}): System & { readonly mounted: number } {
  const made = { ...complete, ...different };
  let bpffs = made.bpffs;
  let mounted = 0;
  const texts: Readonly<Record<string, string>> = {
    '/proc/self/status': `Name:\tnode\nCapEff:\t${made.capEff}\n`,
    '/proc/mounts': made.mounts,
    '/proc/sys/net/core/bpf_jit_enable': made.jit,
    '/proc/sys/net/ipv4/ip_local_port_range': made.localPorts,
    '/proc/sys/net/ipv4/ip_local_reserved_ports': made.reservedPorts,
  };
  const present = ['/', '/sys/fs/bpf', '/sys/kernel/btf/vmlinux', '/sys/fs/cgroup/pods', '/tmp'];
  return {
    get mounted() {
      return mounted;
    },
    kernelRelease: () => made.release,
    readText: (path) => texts[path],
    exists: (path) => present.includes(path) && !made.missing.includes(path),
    fileSystemType: (path) => {
      if (path.startsWith('/sys/fs/bpf') && bpffs) return bpfMagic;
      return path.startsWith('/sys/fs/cgroup') ? cgroup2Magic : tmpfsMagic;
    },
    isWritable: (path) => !made.readOnly || !path.startsWith('/sys/fs/bpf'),
    mountBpf: () => {
      mounted++;
      bpffs = made.mountComplaint === '';
      return made.mountComplaint;
    },
    native: () => {
      if (made.nativeError !== '') throw new Error(made.nativeError);
      return fakeNative(made);
    },
    object: () => new Uint8Array(),
  };
}
