// The codes of errors that an operator may see. Each has one meaning, and is never reused for another.

const table = {
  SLB_E_CONFIG: 'the configuration is invalid',
  SLB_E_USAGE: 'the command line is invalid: see `sluice COMMAND --help`',
  SLB_E_NOT_ROOT:
    'root privileges are missing: run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN',
  SLB_E_KERNEL_OLD: 'the kernel is older than 5.10: use a newer one',
  SLB_E_NO_BTF:
    'the kernel has no BTF (/sys/kernel/btf/vmlinux): use a kernel built with CONFIG_DEBUG_INFO_BTF',
  SLB_E_NO_CGROUP2: 'no cgroup v2 hierarchy is mounted: mount one, or name it with --cgroup',
  SLB_E_NO_BPFFS:
    'the BPF file system cannot be used: mount -t bpf bpf /sys/fs/bpf, or name another folder with --bpffs',
  SLB_E_NATIVE: 'the native module could not be loaded: run make build',
  SLB_E_LOAD: 'the kernel refused to load a BPF program',
  SLB_E_OBJECT: 'a BPF object file is missing: run make build',
  SLB_E_CLOCK:
    'the rate of jiffies, by which flows expire, could not be measured: start the agent again, with less load',
  SLB_E_MAP: 'a BPF map operation failed',
  SLB_E_MAP_FULL: 'a BPF map is full: increase its --max-* option',
  SLB_E_MAP_IN_USE: 'a BPF map has more entries than its --max-* option allows, so it keeps its size',
  SLB_E_MAP_LAYOUT: 'entries of a pinned map have a layout that this version cannot convert',
  SLB_E_ATTACH: 'a program could not be attached to a device',
  SLB_E_SOCKETS:
    'socket hooks cannot be attached here, so Service addresses are translated per packet: --socket-hooks off makes that explicit',
  SLB_E_EXEMPT:
    'a pod is exempt from socket hooks, but has no cgroup v2 to tell its processes by: use --socket-hooks off on this node',
  SLB_E_STRANDED:
    'UDP sockets that are connected to removed backends could not be destroyed: restart their programs, or set the annotation sluice.dev/socket-hooks: "false" on their Services',
  SLB_E_MANIFEST: 'the folder of manifests cannot be used',
  SLB_E_SOURCE: 'the address of the API server is missing or invalid',
  SLB_E_TLS: 'the TLS options for the API server are invalid',
  SLB_E_CREDENTIALS: 'the credentials for the API server cannot be read',
  SLB_E_API: 'the request to the API is invalid: see /openapi.json',
  SLB_E_NOT_FOUND: 'the agent has no object of that name: `sluice services` lists the Services',
  SLB_E_ORIGIN:
    'the API refuses requests for host names other than localhost, and those of web pages: use http://127.0.0.1:9961',
  SLB_E_INTERNAL: 'internal error of the agent: see its log',
  SLB_E_UNREACHABLE: 'no agent answers: is `sluice agent` running? name its address with --api',
  SLB_E_LISTEN: 'cannot listen on an address',
  SLB_E_SYSCTL: 'a sysctl could not be written: set it by other means',
  SLB_E_LOCKED:
    'another process has locked the folder of the BPF file system: stop it, or name another folder with --bpffs',
  SLB_E_RESTART: 'the configuration has changed, but the agent could not restart itself: restart it',
  SLB_E_CLEAN: 'some objects could not be removed; all others were',
  SLB_E_NO_DEVICE: 'no network device matches',
} as const;

export type ErrorCode = keyof typeof table;

/** An error with a stable code. `meaning` is the text of the table; `detail` says what was wrong in this case. */
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
