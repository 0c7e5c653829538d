// Flags, environment and file → Config: which source wins, and errors that name the source of an invalid value.
import {
  defaultOf,
  options,
  schemaOf,
  type Config,
  type ConfigKey,
  type Option,
  type RawValue,
} from './schema.ts';
import { noFile, readConfigFile, type ConfigFile } from './file.ts';
import { SluiceError } from '../errors.ts';
import { replacementOf } from './kinds.ts';
import { valueOf } from './values.ts';
import { ignoredFlag, readProxyFlags } from './kubeproxy/flags.ts';
import { fieldsOfProxyFile, sharedWithProxy } from './kubeproxy/translate.ts';

/** Where values come from: those of the process, or literals in tests. */
export interface ConfigSources {
  /** From the command line: ours by option key, kube-proxy's by flag name in camelCase. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configFile: string | undefined;
  readonly readFile: (path: string) => string;
  readonly hostname: () => string;
  /** Called with each value that is ignored, and the reason. */
  readonly note?: (text: string) => void;
  /** Called with each value in effect that is deprecated, and what replaces it. */
  readonly deprecated?: (text: string) => void;
}

/** The path of the configuration file; undefined without one. */
export function configPath({ configFile, env }: ConfigSources): string | undefined {
  return configFile ?? env['SLUICE_CONFIG'];
}

type Values = ReadonlyMap<ConfigKey, RawValue>;

/**
 * Precedence: flag, environment, file, default. A KubeProxyConfiguration wins over flags that are its fields (S-114).
 */
export function loadConfig(sources: ConfigSources): Config {
  const path = configPath(sources);
  const file = path === undefined ? noFile : readConfigFile(path, sources.readFile);
  const proxyFile = file.isProxyConfig ? path : undefined;
  const proxy = readProxyFlags(sources.flags, proxyFile);
  const own = readOwnFlags(sources.flags, proxyFile);
  for (const note of [...file.notes, ...own.notes, ...proxy.notes]) sources.note?.(note);
  const config = resolve([own.values, proxy.values, readEnvironment(sources.env), file.values], sources);
  checkTogether(config);
  return config;
}

/** The first list that has an option decides it. */
function resolve(lists: readonly Values[], { hostname, deprecated }: ConfigSources): Config {
  const entries: Record<string, unknown> = {};
  for (const option of options) {
    const given = lists.map((values) => values.get(option.key)).find((value) => value !== undefined);
    const value = given === undefined ? defaultOf(option.key) : check(option, given);
    if (value !== undefined) entries[option.key] = Object.freeze(value);
    if (given !== undefined) noteRenamed(option, given, deprecated);
  }
  entries['nodeName'] = nodeNameOf(
    lists.map((values) => values.get('nodeName')).find((value) => value),
    hostname,
  );
  entries['detectLocalMode'] ??=
    (entries['clusterCidr'] as Config['clusterCidr']).length > 0 ? 'ClusterCIDR' : 'Device';
  return Object.freeze(entries) as unknown as Config;
}

function readOwnFlags(
  flags: ConfigSources['flags'],
  proxyFile: string | undefined,
): Pick<ConfigFile, 'values' | 'notes'> {
  const values = new Map<ConfigKey, RawValue>();
  const notes: string[] = [];
  for (const { key, flag, kind } of options) {
    const raw = flags[key];
    if (raw === undefined || isUnset(key, kind, raw)) continue;
    if (proxyFile !== undefined && fieldsOfProxyFile.has(key)) notes.push(ignoredFlag(flag, proxyFile));
    else values.set(key, { origin: flag, raw });
  }
  return { values, notes };
}

/** kube-proxy takes an empty text for one that is not given. */
function isUnset(key: ConfigKey, kind: Option['kind'], raw: string): boolean {
  return raw === '' && (kind === 'text' || kind === 'choice') && sharedWithProxy.has(key);
}

function readEnvironment(env: ConfigSources['env']): Values {
  return new Map(
    options.flatMap(({ key, env: name }) => {
      const raw = env[name];
      return raw === undefined ? [] : [[key, { origin: name, raw }] as const];
    }),
  );
}

function check(option: Option, given: RawValue): unknown {
  const value = valueOf(option.key, given.raw);
  if (value === undefined) {
    const shown = typeof given.raw === 'string' ? given.raw : given.raw.join(',');
    refuse(`${given.origin}: "${shown}" is not allowed: use ${option.allowed}`);
  }
  return value;
}

function noteRenamed({ key }: Option, { origin, raw }: RawValue, note: ConfigSources['deprecated']): void {
  const value = typeof raw === 'string' ? replacementOf(schemaOf(key), raw) : undefined;
  if (value !== undefined) note?.(`${origin}: "${String(raw)}" is deprecated: use "${value}"`);
}

function refuse(text: string): never {
  throw new SluiceError('SLB_E_CONFIG', text);
}

/** RFC 1123, as Kubernetes wants the names of Nodes. */
const subdomain = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** S-110: trimmed and lower-cased, and never empty. A host name is taken as it is: without a cluster any will do. */
function nodeNameOf(given: RawValue | undefined, hostname: () => string): string {
  const name = String(given?.raw ?? hostname())
    .trim()
    .toLowerCase();
  if (name === '') refuse('--node-name: the host name is empty: give the name of the Node object');
  if (given !== undefined && !subdomain.test(name))
    refuse(
      `${given.origin}: "${name}" is not allowed: use the name of the Node object, a DNS subdomain of a-z, 0-9, "-" and ".", such as node-1.example`,
    );
  return name;
}

function checkTogether(config: Config): void {
  if (config.manifests !== undefined && config.kubeconfig !== undefined)
    refuse('--manifests and --kubeconfig are both given: use one of them');
  if (!config.bpffs.startsWith('/'))
    refuse(`--bpffs: "${config.bpffs}" is not allowed: use an absolute path`);
  const { detectLocalMode: mode } = config;
  if (mode === 'BridgeInterface' && config.podBridgeInterface === undefined)
    refuse(`--detect-local-mode: ${mode} needs --pod-bridge-interface`);
  if (mode === 'InterfaceNamePrefix' && config.podInterfaceNamePrefix === undefined)
    refuse(`--detect-local-mode: ${mode} needs --pod-interface-name-prefix`);
}
