// The options of the agent. One schema gives flags, environment variables, file keys, defaults, checks, help and docs.
import Type, { type Static } from 'typebox';
import { defaultApiHost, defaultApiPort, defaultBpffs, defaultCgroup } from './defaults.ts';
import {
  address,
  allowedOf,
  choice,
  count,
  duration,
  list,
  optionalChoice,
  optionalText,
  ports,
  text,
  toggle,
  type OptionKind,
  type OptionSchema,
} from './kinds.ts';
import { exactDuration } from '../units.ts';

const idsMax = 2 ** 20; // an id has 20 bits for the index of its row
const flowsMax = 2 ** 24;

/** Durations are whole seconds in the value and "24h" in text; lists are comma-separated in flags and environment. */
export const ConfigSchema = Type.Object({
  manifests: optionalText(
    'DIR',
    'Directory of YAML or JSON files to read Services, EndpointSlices and the Node from, instead of an API server. It is watched for changes. Cannot be combined with --kubeconfig.',
    'use the API server',
  ),
  kubeconfig: optionalText(
    'FILE',
    'Path to a kubeconfig file with the address of the API server and the credentials for it. Set it when the agent does not run as a pod.',
    'the service account of the pod',
  ),
  nodeName: optionalText(
    'NAME',
    'Name of the Node object of this node; it is lower-cased. Set it when that is not the host name.',
    'the host name',
  ),
  nodeAddress: list(
    'A[,A…]',
    'IP addresses of this node: what "primary" in --nodeport-addresses stands for, and the preferred source of masqueraded connections. Set it when the Node object has other addresses than the cluster uses.',
    'those of the Node object, else of its uplinks',
    'addresses',
  ),
  devices: list(
    'GLOB[,GLOB…]',
    'Network devices to attach the BPF programs to; "lo" always is one. A pattern that begins with ! excludes devices; such patterns alone leave the others to detection. Set it when "sluice status" lists too many devices, or too few.',
    'uplinks, tunnels and pod devices found',
  ),
  uplinks: list(
    'GLOB[,GLOB…]',
    'Network devices that lead out of this node, in addition to those detected. A pattern that begins with ! excludes devices. Set it when "sluice status" shows a device in the wrong role.',
    'devices with a default route and hardware that is up',
  ),
  xdp: choice(
    ['auto', 'native', 'generic', 'off'],
    'XDP mode on uplinks. native: in the driver; generic: in the network stack, for tests; auto: native where the driver supports it, else none. Set it to off when other programs need the XDP hook.',
    'auto',
  ),
  tcxOrder: choice(
    ['first', 'last'],
    'Position among the tcx programs at a device (kernel 6.6 and newer): before all others, or after them. A program that ends with TCX_PASS hides the packet from those after it. Set it to last when another program must see packets before translation.',
    'first',
  ),
  nodeportAddresses: list(
    'CIDR|primary|localhost|all[,…]',
    'Addresses of this node that accept NodePort connections: CIDRs, and "primary" for the node IPs, "localhost" for 127.0.0.0/8 and ::1, "all" for every address. A family without a CIDR is not restricted unless a word is given.',
    'all of them',
    'rangesOrWords',
  ),
  localhostNodeports: toggle(
    'Accept NodePort connections of processes of this host at 127.0.0.0/8 and ::1.',
    true,
  ),
  detectLocalMode: optionalChoice(
    ['Device', 'ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'],
    'How traffic from pods is told from traffic from outside the cluster. Device: by the device it comes in by. ClusterCIDR: by source, in --cluster-cidr. NodeCIDR: by source, in spec.podCIDRs of the Node. BridgeInterface: by the bridge of --pod-bridge-interface. InterfaceNamePrefix: by devices named as in --pod-interface-name-prefix.',
    'ClusterCIDR with --cluster-cidr, else Device',
  ),
  clusterCidr: list(
    'CIDR[,CIDR]',
    'CIDRs of all pods of the cluster, one per family. Traffic to ClusterIPs from outside of them is masqueraded.',
    'not known',
    'ranges',
  ),
  podBridgeInterface: optionalText(
    'NAME',
    'Bridge whose ports lead to pods. Needed by --detect-local-mode BridgeInterface.',
    'none',
  ),
  podInterfaceNamePrefix: optionalText(
    'PREFIX',
    'Prefix of the names of pod devices, such as "cali". Needed by --detect-local-mode InterfaceNamePrefix.',
    'none',
  ),
  masqueradeAll: toggle(
    'SNAT all traffic to ClusterIPs. Set it when replies of pods would not come back through this node; backends then see no client address.',
    false,
  ),
  masqueradeLocal: toggle(
    'SNAT traffic to NodePorts, external IPs and load balancer IPs also when the backend is a pod of this node, as kube-proxy does. Set it to false to let such backends see the address of the client; these connections then go through the network stack.',
    true,
  ),
  unservedPorts: choice(
    ['pass', 'reject', 'drop'],
    'What to do with packets from outside to a port without a Service, at an external IP or load balancer IP that no device of this node has, when the route leads back to where they came from. reject: answer with TCP RST or ICMP port unreachable; drop: discard; pass: leave to the network stack, which forwards them.',
    'reject',
    { refuse: 'reject' },
  ),
  snatPorts: ports(
    'Range of source ports for masqueraded connections whose own source port is already in use towards the backend. Set it to keep ports free for other programs.',
    '1024-65535',
  ),
  hashSeed: optionalText(
    'TEXT',
    'Seed of the hash that chooses backends. It must be the same on all nodes; changing it moves no existing connection. Set it with --manifests, where there is no Service to take it from.',
    'the uid of the Service default/kubernetes; none with --manifests',
  ),
  apiAddress: address(
    'IP address and port for the REST API, which "sluice status" and the other commands read. It has no authentication: keep it on loopback. Empty disables it.',
    defaultApiHost,
    defaultApiPort,
    'by name',
  ),
  healthzBindAddress: address(
    'IP address and port for the health check server: /healthz and /livez. Empty disables it.',
    '0.0.0.0',
    10_256,
  ),
  metricsBindAddress: address(
    'IP address and port for the metrics server: /metrics and /proxyMode. Empty disables it.',
    '127.0.0.1',
    10_249,
  ),
  bindAddressHardFail: toggle(
    'Treat a failure to listen on one of these addresses as fatal and exit, instead of trying again.',
    false,
  ),
  bpffs: text('DIR', 'Directory on a BPF file system to pin programs and maps in.', defaultBpffs),
  cgroup: text(
    'PATH|auto',
    'cgroup v2 directory to attach the socket programs to. auto: the root of the hierarchy as the agent sees it. Set it when the agent has a cgroup or network namespace of its own.',
    defaultCgroup,
  ),
  socketHooks: choice(
    ['auto', 'on', 'off'],
    'Translate Service addresses at the socket, when a process of this node connects or sends, instead of in each packet. auto: where the kernel and --cgroup allow it; on: exit if they do not.',
    'auto',
  ),
  socketHooksSkip: list(
    'CGROUP[,CGROUP…]',
    'cgroups, absolute paths or below --cgroup, whose processes and those of their descendants are not translated at the socket but per packet. For processes that are no pods; pods have the annotation sluice.dev/socket-hooks.',
    'none',
  ),
  logLevel: choice(
    ['debug', 'info', 'warn', 'error', 'silent'],
    'Lowest severity of log lines to write.',
    'info',
  ),
  maxServices: count(
    'Maximum number of service ports per family; a port of a dual-stack Service counts once in each. The maps start small and grow up to it.',
    65_536,
    idsMax,
  ),
  maxBackends: count(
    'Maximum number of backends; an endpoint counts once for each service port. The maps start small and grow up to it.',
    524_288,
    idsMax,
  ),
  maxFlows: count(
    'Maximum number of entries in the map of established flows, per family; a connection has two. When it is full, new connections stay in the map of half-open flows. Increase it when "sluice status" shows it nearly full.',
    262_144,
    flowsMax,
  ),
  maxHalfOpenFlows: count(
    'Maximum number of entries in the map of half-open flows, per family. When it is full, the least recently used are evicted. Increase it for high connection rates.',
    65_536,
    flowsMax,
  ),
  maxSockets: count(
    'Maximum number of sockets that are translated at a time; traffic of others is translated per packet.',
    65_536,
    flowsMax,
  ),
  tcpTimeoutSyn: duration('Timeout of TCP flows that the backend has not answered.', 60),
  tcpTimeoutEstablished: duration('Idle timeout of established TCP flows.', 86_400),
  tcpTimeoutCloseWait: duration('Idle timeout of TCP flows that one end has closed.', 3_600),
  tcpTimeoutClosed: duration('Timeout of TCP flows that both ends have closed or one has reset.', 10),
  udpTimeout: duration('Timeout of UDP flows that the backend has not answered.', 30),
  udpTimeoutStream: duration('Idle timeout of UDP flows that the backend has answered.', 120),
});

type Writable = Static<typeof ConfigSchema>;
export type ConfigKey = keyof Writable;
/** Checked and frozen; defaults that depend on the host are filled in. */
export type Config = { readonly [Key in ConfigKey]: Readonly<Writable[Key]> } & {
  readonly nodeName: string; // S-110
  readonly detectLocalMode: NonNullable<Writable['detectLocalMode']>;
};

/** A value as it was written. */
export interface RawValue {
  readonly origin: string; // where: "--xdp", "SLUICE_XDP" or "FILE:LINE: xdp"
  readonly raw: string | readonly string[];
}

export interface Option {
  readonly key: ConfigKey;
  readonly flag: string; // --node-name
  readonly env: string; // SLUICE_NODE_NAME
  readonly metavar: string;
  readonly kind: OptionKind;
  readonly description: string;
  readonly fallback: string; // the default as text, or what happens without a value
  readonly allowed: string; // completes "use …"
}

/** The keywords of one option. */
export function schemaOf(key: ConfigKey): OptionSchema {
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

/** Every option, in the order of the help text. */
export const options: readonly Option[] = Object.freeze(
  (Object.keys(ConfigSchema.properties) as ConfigKey[]).map((key) => Object.freeze(describe(key))),
);

/** The default of an option as a value. */
export function defaultOf(key: ConfigKey): unknown {
  return schemaOf(key).default;
}

/** The port of an address option whose text has none. */
export function defaultPortOf(key: ConfigKey): number {
  return schemaOf(key).port ?? 0;
}
