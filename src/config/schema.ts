// The options of the agent: one schema gives flags, environment names, file keys, defaults, checks, help and docs.
import { isIP } from 'node:net';
import Type, { type Static } from 'typebox';
import { defaultApiHost, defaultApiPort, defaultBpffs, defaultCgroup } from './defaults.ts';
import { canonicalCidr, cidrFamily } from '../net/cidr.ts';
import { canonicalAddress } from '../net/ip.ts';
import { nodePortWords } from '../host/nodeports.ts';
import { parseHostPort, parsePortRange } from '../net/hostport.ts';
import { exactDuration, parseDuration } from '../units.ts';

/** How a text becomes a value, and what to say of one that does not. */
export type OptionKind = 'text' | 'list' | 'choice' | 'switch' | 'count' | 'duration' | 'address' | 'ports';

/** Whether an address option without an address listens on all, or only when 0.0.0.0 or :: is written. */
type Everywhere = 'by default' | 'by name';

const slotsMax = 2 ** 20; // an id keeps its slot in 20 bits

function text(metavar: string, description: string, fallback: string) {
  return Type.String({ kind: 'text', metavar, description, default: fallback, minLength: 1 });
}
function optionalText(metavar: string, description: string, unset: string) {
  return Type.Optional(Type.String({ kind: 'text', metavar, description, unset, minLength: 1 }));
}
/** What the members of a list must be. */
type Members = 'texts' | 'addresses' | 'ranges' | 'rangesOrWords';

function list(metavar: string, description: string, unset: string, members: Members = 'texts') {
  return Type.Array(Type.String({ minLength: 1 }), {
    kind: 'list',
    metavar,
    description,
    unset,
    members,
    default: [],
  });
}
function choice<const Names extends string[]>(
  names: readonly [...Names],
  description: string,
  fallback: Names[number],
) {
  return Type.Enum<Names>(names, {
    kind: 'choice',
    metavar: names.join('|'),
    description,
    default: fallback,
  });
}
function optionalChoice<const Names extends string[]>(
  names: readonly [...Names],
  description: string,
  unset: string,
) {
  return Type.Optional(
    Type.Enum<Names>(names, { kind: 'choice', metavar: names.join('|'), description, unset }),
  );
}
function toggle(description: string, fallback: boolean) {
  return Type.Boolean({ kind: 'switch', metavar: 'true|false', description, default: fallback });
}
function ports(description: string, fallback: string) {
  return Type.String({ kind: 'ports', metavar: 'MIN-MAX', description, default: fallback });
}
function count(description: string, fallback: number, maximum: number) {
  return Type.Integer({ kind: 'count', metavar: 'N', description, default: fallback, minimum: 16, maximum });
}
function duration(description: string, fallback: number) {
  return Type.Integer({
    kind: 'duration',
    metavar: 'TIME',
    description,
    default: fallback,
    minimum: 1,
    maximum: 86_400 * 7,
  });
}
function address(description: string, host: string, port: number, everywhere: Everywhere = 'by default') {
  return Type.String({
    kind: 'address',
    metavar: 'ADDRESS',
    description,
    port,
    everywhere,
    default: `${host}:${String(port)}`,
  });
}

/** Durations are whole seconds in the value and "24h" in text; lists are comma-separated in flags and environment. */
export const ConfigSchema = Type.Object({
  manifests: optionalText(
    'DIR',
    'take Services and EndpointSlices from this folder of YAML or JSON files',
    'use the API server',
  ),
  kubeconfig: optionalText(
    'FILE',
    'watch the API server that this file names',
    'the service account of the pod',
  ),
  nodeName: optionalText('NAME', 'name of this node, as in node.metadata.name; lower-cased', 'the host name'),
  nodeAddress: list(
    'A[,A…]',
    'addresses by which the cluster knows this node',
    'those of the Node object, else of its uplinks',
    'addresses',
  ),
  devices: list(
    'GLOB[,GLOB…]',
    'network devices to attach to; a pattern that begins with ! excludes',
    'uplinks, tunnels and pod devices found',
  ),
  uplinks: list(
    'GLOB[,GLOB…]',
    'devices that lead out of this node besides those found; a pattern that begins with ! says that it does not',
    'devices with a default route and hardware that is up',
  ),
  xdp: choice(
    ['auto', 'native', 'generic', 'off'],
    'XDP on uplinks; auto: native where the driver can',
    'auto',
  ),
  tcxOrder: choice(
    ['first', 'last'],
    'where our programs stand among those of others at the tcx hooks of a device: one that passes a packet on hides it from all behind it',
    'first',
  ),
  nodeportAddresses: list(
    'CIDR|primary|localhost|all[,…]',
    'addresses of this node at which NodePorts answer, any mix of ranges and words: primary: the node addresses; localhost: 127.0.0.0/8 and ::1',
    'all of them',
    'rangesOrWords',
  ),
  localhostNodeports: toggle(
    "whether NodePorts answer at 127.0.0.1 and ::1, to this host's own processes",
    true,
  ),
  detectLocalMode: optionalChoice(
    ['Device', 'ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'],
    'how pods are told from others: by their device, or by what a further option or the Node object says',
    'ClusterCIDR with --cluster-cidr, else Device',
  ),
  clusterCidr: list(
    'CIDR[,CIDR]',
    'ClusterCIDR: addresses of all pods, one range a family',
    'not known',
    'ranges',
  ),
  podBridgeInterface: optionalText('NAME', 'BridgeInterface: the bridge that pods are at', 'none'),
  podInterfaceNamePrefix: optionalText(
    'PREFIX',
    'InterfaceNamePrefix: how names of pod devices begin',
    'none',
  ),
  masqueradeAll: toggle('whether no backend sees the address of a client of a cluster address', false),
  masqueradeLocal: toggle(
    'SNAT connections to external addresses also when their backend is a pod of this node, as kube-proxy does; else they keep the address of the client and pass the stack',
    true,
  ),
  unservedPorts: choice(
    ['pass', 'refuse', 'drop'],
    'what becomes of packets from outside to a port without a Service, at an external or load balancer address that no device has, when they would go back where they came from',
    'refuse',
  ),
  snatPorts: ports(
    'source ports for masqueraded connections whose own one is taken towards the backend',
    '1024-65535',
  ),
  hashSeed: optionalText(
    'TEXT',
    'what the choice of backends depends on besides addresses and ports; has to be the same on all nodes',
    'the uid of the Service default/kubernetes; none with --manifests',
  ),
  apiAddress: address(
    'where the REST API listens; empty: nowhere. It asks for no password',
    defaultApiHost,
    defaultApiPort,
    'by name',
  ),
  healthzBindAddress: address('where /healthz and /livez listen; empty: nowhere', '0.0.0.0', 10_256),
  metricsBindAddress: address('where /metrics and /proxyMode listen; empty: nowhere', '127.0.0.1', 10_249),
  bindAddressHardFail: toggle('whether the agent ends when one of these addresses is taken', false),
  bpffs: text('DIR', 'folder on a BPF file system for the pinned programs and maps', defaultBpffs),
  cgroup: text('PATH|auto', 'cgroup v2 folder of this node; auto: where cgroup v2 is mounted', defaultCgroup),
  socketHooks: choice(
    ['auto', 'on', 'off'],
    'whether sockets of this node are pointed at backends as they connect; auto: where the kernel and --cgroup allow it',
    'auto',
  ),
  socketHooksSkip: list(
    'CGROUP[,CGROUP…]',
    'cgroups whose processes the socket hooks leave alone, and those below; paths, absolute or below --cgroup',
    'none',
  ),
  logLevel: choice(['debug', 'info', 'warn', 'error', 'silent'], 'least severe log lines to write', 'info'),
  maxServices: count('service ports that the tables may grow to, one for each family', 65_536, slotsMax),
  maxBackends: count(
    'backends that the tables may grow to: endpoints of each service port',
    524_288,
    slotsMax,
  ),
  maxFlows: count(
    'entries of the established flow table of each family; a connection takes two',
    262_144,
    2 ** 24,
  ),
  maxHalfOpenFlows: count(
    'entries of the half-open flow table of each family; the oldest give way',
    65_536,
    2 ** 24,
  ),
  maxSockets: count(
    'sockets that can be pointed at backends at a time; others are served packet by packet',
    65_536,
    2 ** 24,
  ),
  tcpTimeoutSyn: duration('life of a TCP flow whose backend has not answered', 60),
  tcpTimeoutEstablished: duration('idle life of a TCP flow', 86_400),
  tcpTimeoutCloseWait: duration('idle life of a TCP flow closed by one end', 3_600),
  tcpTimeoutClosed: duration('life of a TCP flow closed by both ends or reset', 10),
  udpTimeout: duration('life of a UDP flow whose backend has not answered', 30),
  udpTimeoutStream: duration('idle life of a UDP flow answered by its backend', 120),
});

type Writable = Static<typeof ConfigSchema>;
export type ConfigKey = keyof Writable;
/** Checked and frozen. What has no fixed default is worked out. */
export type Config = { readonly [Key in ConfigKey]: Readonly<Writable[Key]> } & {
  readonly nodeName: string; // S-110
  readonly detectLocalMode: NonNullable<Writable['detectLocalMode']>;
};

/** A value as it was written. */
export interface RawValue {
  readonly origin: string; // "--xdp", "SLUICE_XDP" or "FILE:LINE: xdp"
  readonly raw: string | readonly string[];
}

export interface Option {
  readonly key: ConfigKey;
  readonly flag: string; // --node-name
  readonly env: string; // SLUICE_NODE_NAME
  readonly metavar: string;
  readonly kind: OptionKind;
  readonly description: string;
  readonly fallback: string; // the default as a person would write it, or what happens without
  readonly allowed: string; // completes "use …"
}

interface OptionSchema {
  kind: OptionKind;
  metavar: string;
  description: string;
  default?: unknown;
  unset?: string;
  minimum?: number;
  maximum?: number;
  port?: number;
  everywhere?: Everywhere;
  enum?: readonly string[];
  members?: Members;
}

function schemaOf(key: ConfigKey): OptionSchema {
  return ConfigSchema.properties[key] as unknown as OptionSchema;
}

function describe(key: ConfigKey): Option {
  const schema = schemaOf(key);
  const words = key.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
  const { kind, metavar, description, unset } = schema;
  const fallback =
    unset ?? (kind === 'duration' ? exactDuration(Number(schema.default)) : String(schema.default));
  return {
    key,
    flag: `--${words}`,
    env: `SLUICE_${words.replaceAll('-', '_').toUpperCase()}`,
    metavar,
    kind,
    description,
    fallback,
    allowed: allowedOf(schema),
  };
}

const allowedLists: Readonly<Record<Members, string>> = {
  texts: 'a comma-separated list without empty members',
  addresses: 'IPv4 or IPv6 addresses, separated by commas',
  ranges: 'ranges such as 10.244.0.0/16,fd00:244::/48, one a family',
  rangesOrWords:
    'a list of ranges such as 192.0.2.0/24,2001:db8::/32 and the words primary, localhost and all',
};

function allowedOf(schema: OptionSchema): string {
  switch (schema.kind) {
    case 'choice':
      return `one of ${(schema.enum ?? []).join(', ')}`;
    case 'count':
      return `a whole number from ${String(schema.minimum)} to ${String(schema.maximum)}`;
    case 'duration':
      return `a time such as 90s, 15m or 24h, from ${exactDuration(schema.minimum ?? 1)} to ${exactDuration(schema.maximum ?? 1)}`;
    case 'address':
      return allowedAddress(schema);
    case 'switch':
      return 'true or false';
    case 'ports':
      return 'two ports such as 1024-65535, the lower one first';
    case 'list':
      return allowedLists[schema.members ?? 'texts'];
    case 'text':
      return 'a text that is not empty';
  }
}

function allowedAddress({ port = 0, everywhere }: OptionSchema): string {
  const all =
    everywhere === 'by name' ? `, 0.0.0.0:${String(port)} or [::]:${String(port)} for every address` : '';
  return `ADDRESS:PORT such as 127.0.0.1:${String(port)} or [::1]:${String(port)}${all}, or nothing to switch it off`;
}

/** Every option, in the order of the help text. */
export const options: readonly Option[] = Object.freeze(
  (Object.keys(ConfigSchema.properties) as ConfigKey[]).map((key) => Object.freeze(describe(key))),
);

/** The default of an option as a value. */
export function defaultOf(key: ConfigKey): unknown {
  return schemaOf(key).default;
}

/** Text → value of the option; undefined when the text is not allowed. List members come one by one or comma-separated. */
export function valueOf(key: ConfigKey, raw: string | readonly string[]): unknown {
  const schema = schemaOf(key);
  if (schema.kind === 'list') return listOf(raw, schema.members ?? 'texts');
  if (typeof raw !== 'string') return undefined;
  switch (schema.kind) {
    case 'text':
      return raw === '' ? undefined : raw;
    case 'choice':
      return schema.enum?.includes(raw) === true ? raw : undefined;
    case 'switch':
      return truthOf(raw);
    case 'ports':
      return parsePortRange(raw) === undefined ? undefined : raw;
    case 'count':
      return within(schema, /^\d+$/.test(raw) ? Number(raw) : undefined);
    case 'duration':
      return within(schema, parseDuration(raw));
    case 'address':
      return raw === '' || isAllowedAddress(schema, raw) ? raw : undefined;
  }
}

function isAllowedAddress({ port = 0, everywhere }: OptionSchema, raw: string): boolean {
  return (
    parseHostPort(raw, port) !== undefined &&
    (everywhere !== 'by name' || !raw.startsWith(':') || isIP(raw) !== 0)
  );
}

const truths: Readonly<Record<string, boolean>> = {
  true: true,
  t: true,
  1: true,
  false: false,
  f: false,
  0: false,
};

/** As Go reads it: several of these options are kube-proxy's as well. */
function truthOf(raw: string): boolean | undefined {
  return truths[raw.toLowerCase()];
}

function within(schema: OptionSchema, value: number | undefined): number | undefined {
  if (value === undefined || value < (schema.minimum ?? 0) || value > (schema.maximum ?? Infinity))
    return undefined;
  return value;
}

function listOf(raw: string | readonly string[], kind: Members): string[] | undefined {
  if (raw === '') return [];
  const members = (typeof raw === 'string' ? raw.split(',') : raw).map((member) => member.trim());
  return members.includes('') || !areAllowed(members, kind) ? undefined : members;
}

function areAllowed(members: readonly string[], kind: Members): boolean {
  if (kind === 'texts') return true;
  if (kind === 'addresses') return members.every((member) => canonicalAddress(member) !== undefined);
  if (kind === 'rangesOrWords')
    return members.every((member) => nodePortWords.has(member) || canonicalCidr(member) !== undefined);
  const ranges = members.flatMap((member) => canonicalCidr(member) ?? []);
  const families = new Set(ranges.map(cidrFamily));
  return ranges.length === members.length && families.size === ranges.length;
}

/** Port that an address option means when its text names none. */
export function defaultPortOf(key: ConfigKey): number {
  return schemaOf(key).port ?? 0;
}
