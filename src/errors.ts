// Every error an operator can meet, once. Codes are never reused; the text says what was wrong and what to do.

const table = {
  SLB_E_CONFIG: 'configuration is not usable',
  SLB_E_USAGE: 'the command cannot be carried out as it is written: `sluice COMMAND --help` tells more',
  SLB_E_NOT_ROOT:
    'root is needed: run as root, or give the container CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN',
  SLB_E_KERNEL_OLD: 'the kernel is older than 5.10, the oldest that is supported',
  SLB_E_NO_BTF:
    'the kernel has no BTF (/sys/kernel/btf/vmlinux): use a kernel built with CONFIG_DEBUG_INFO_BTF',
  SLB_E_NO_CGROUP2: 'no cgroup v2 hierarchy is mounted: mount one, or name it with --cgroup',
  SLB_E_NO_BPFFS:
    'the BPF file system is not usable: mount -t bpf bpf /sys/fs/bpf, or name another folder with --bpffs',
  SLB_E_NATIVE: 'the native module could not be loaded: run make build',
  SLB_E_LOAD: 'the kernel refused a BPF program',
  SLB_E_OBJECT: 'a BPF object file is missing: run make build',
  SLB_E_CLOCK:
    'the rate of the kernel clock that programs read (jiffies) is not known, so no flow could expire',
  SLB_E_MAP: 'a BPF map operation failed',
  SLB_E_MAP_FULL: 'a BPF map is full',
  SLB_E_MAP_IN_USE: 'a BPF map stays larger than asked for, because more of it is in use',
  SLB_E_MAP_LAYOUT: 'a pinned map has another layout than this version',
  SLB_E_ATTACH: 'a program could not be attached to a device',
  SLB_E_SOCKETS:
    'the socket hooks cannot work here: their services are steered packet by packet; --socket-hooks off says that this is meant',
  SLB_E_EXEMPT:
    'processes that the socket hooks should leave alone are not left alone, for want of a cgroup by which to know them',
  SLB_E_STRANDED:
    'UDP sockets are connected to backends that have gone, and could not be ended: restart their programs, or keep their Services from the socket hooks with the annotation sluice.dev/socket-hooks: "false"',
  SLB_E_MANIFEST: 'a manifest is not usable',
  SLB_E_SOURCE: 'the source of Services failed',
  SLB_E_TLS: 'the TLS options for the API server are not usable',
  SLB_E_CREDENTIALS: 'there are no credentials for the API server',
  SLB_E_API: 'the agent does not understand the request',
  SLB_E_NOT_FOUND: 'the agent has nothing of that name to show: `sluice services` lists what it forwards',
  SLB_E_ORIGIN:
    'the API answers requests to an address of this node or to localhost, from no page of another origin: use http://127.0.0.1:9961',
  SLB_E_INTERNAL: 'a fault of the agent itself: its log has more',
  SLB_E_UNREACHABLE: 'no agent answers: is `sluice agent` running? name its address with --api',
  SLB_E_LISTEN: 'an address could not be listened on',
  SLB_E_SYSCTL:
    'a setting of the kernel could not be written: without it processes of this host do not reach NodePorts at their own loopback address',
  SLB_E_LOCKED:
    'another process works on the same folder of the BPF file system: stop it, or name another folder with --bpffs',
  SLB_E_RESTART:
    'the configuration has changed, and the agent could not begin anew by itself: its supervisor has to start it',
  SLB_E_CLEAN: 'something could not be removed; the rest has been',
  SLB_E_NO_DEVICE: 'no network device matches',
} as const;

export type ErrorCode = keyof typeof table;

/** An error with a stable code. `detail` says what was wrong in this case; the table's text says what it means. */
export class SluiceError extends Error {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly meaning: string;
  constructor(code: ErrorCode, detail: string, options?: { cause?: unknown }) {
    super(`${code}: ${table[code]}: ${detail}`, options);
    this.name = 'SluiceError';
    this.code = code;
    this.detail = detail;
    this.meaning = table[code];
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(table, code);
}

/** The message of anything thrown, for logs. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
