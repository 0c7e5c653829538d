// Flags, environment and file → Config: which source wins, and errors that name the source of a bad value.
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Pair } from 'yaml';
import { isIP } from 'node:net';
import { SluiceError, messageOf } from './errors.ts';
import { canonicalCidr, cidrFamily } from './model/cidr.ts';
import { defaultOf, options, valueOf, type Config, type ConfigKey, type Option } from './config.ts';

/** Where values come from; the process's own in production, literals in tests. */
export interface ConfigSources {
  /** By option key, as typed on the command line. */
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly configFile: string | undefined;
  readonly readFile: (path: string) => string;
  readonly hostname: () => string;
}

interface RawValue {
  readonly origin: string; // "--xdp", "SLUICE_XDP" or "FILE:LINE: xdp"
  readonly raw: string | readonly string[];
}

/** Precedence: flag, environment, file, default. */
export function loadConfig(sources: ConfigSources): Config {
  const path = sources.configFile ?? sources.env['SLUICE_CONFIG'];
  const file = path === undefined ? new Map<ConfigKey, RawValue>() : readConfigFile(path, sources.readFile);
  const entries: Record<string, unknown> = {};
  for (const option of options) {
    const given = choose(option, sources, file);
    const value = given === undefined ? defaultOf(option.key) : check(option, given);
    if (value !== undefined) entries[option.key] = Object.freeze(value);
  }
  entries['nodeName'] = nodeNameOf(entries['nodeName'], sources.hostname);
  const config = Object.freeze(entries) as unknown as Config;
  checkTogether(config);
  return config;
}

function choose(
  option: Option,
  sources: ConfigSources,
  file: ReadonlyMap<ConfigKey, RawValue>,
): RawValue | undefined {
  const flag = sources.flags[option.key];
  if (flag !== undefined) return { origin: option.flag, raw: flag };
  const variable = sources.env[option.env];
  if (variable !== undefined) return { origin: option.env, raw: variable };
  return file.get(option.key);
}

function check(option: Option, given: RawValue): unknown {
  const value = valueOf(option.key, given.raw);
  if (value === undefined) {
    const shown = typeof given.raw === 'string' ? given.raw : given.raw.join(',');
    throw new SluiceError(
      'SLB_E_CONFIG',
      `${given.origin}: "${shown}" is not allowed: use ${option.allowed}`,
    );
  }
  return value;
}

/** S-110: trimmed and lower-cased, and never empty. */
function nodeNameOf(given: unknown, hostname: () => string): string {
  const name = (typeof given === 'string' ? given : hostname()).trim().toLowerCase();
  if (name === '') throw new SluiceError('SLB_E_CONFIG', '--node-name: the node has no name: name it');
  return name;
}

function refuse(text: string): never {
  throw new SluiceError('SLB_E_CONFIG', text);
}

function checkTogether(config: Config): void {
  if (config.manifests !== undefined && config.kubeconfig !== undefined) {
    refuse('--manifests and --kubeconfig are both given: Services come from one of them');
  }
  for (const address of config.nodeAddress) {
    if (isIP(address) === 0)
      refuse(`--node-address: "${address}" is not allowed: use IPv4 or IPv6 addresses`);
  }
  if (!config.bpffs.startsWith('/'))
    refuse(`--bpffs: "${config.bpffs}" is not allowed: use an absolute path`);
  checkNodePorts(config);
  checkDetection(config);
}

function checkNodePorts({ nodeportAddresses: list }: Config): void {
  if (list.includes('primary') && list.length > 1)
    refuse('--nodeport-addresses: "primary" stands alone, not among ranges');
  if (!list.includes('primary')) checkRanges('--nodeport-addresses', list);
}

/** S-76, S-116: what a mode needs is there, and nothing that belongs to another. */
function checkDetection(config: Config): void {
  checkRanges('--cluster-cidr', config.clusterCidr);
  const families = config.clusterCidr.map((range) => cidrFamily(canonicalCidr(range) ?? ''));
  if (new Set(families).size < families.length)
    refuse(`--cluster-cidr: "${config.clusterCidr.join(',')}" has two ranges of one family: one a family`);
  const needs = {
    ClusterCIDR: ['--cluster-cidr', config.clusterCidr.length > 0],
    BridgeInterface: ['--pod-bridge-interface', config.podBridgeInterface !== undefined],
    InterfaceNamePrefix: ['--pod-interface-name-prefix', config.podInterfaceNamePrefix !== undefined],
  } as const;
  const mode = config.detectLocalMode;
  if (mode === 'Device' || mode === 'NodeCIDR') return;
  const [option, given] = needs[mode];
  if (!given) refuse(`--detect-local-mode: ${mode} needs ${option}`);
}

function checkRanges(option: string, ranges: readonly string[]): void {
  for (const range of ranges) {
    if (canonicalCidr(range) === undefined)
      refuse(`${option}: "${range}" is not allowed: use ranges such as 192.0.2.0/24 or 2001:db8::/32`);
  }
}

function readConfigFile(path: string, readFile: (path: string) => string): Map<ConfigKey, RawValue> {
  const lines = new LineCounter();
  const document = parseDocument(readText(path, readFile), { lineCounter: lines });
  const [broken] = document.errors;
  if (broken !== undefined) {
    throw new SluiceError(
      'SLB_E_CONFIG',
      `${at(path, lines, broken.pos[0])}: ${broken.message.split('\n')[0] ?? 'not YAML'}`,
    );
  }
  const values = new Map<ConfigKey, RawValue>();
  if (document.contents === null) return values; // an empty file says nothing
  if (!isMap(document.contents))
    throw new SluiceError('SLB_E_CONFIG', `${path}:1: a list of "key: value" lines is wanted`);
  for (const pair of document.contents.items) {
    const { key, value } = readPair(pair, path, lines);
    values.set(key, value);
  }
  return values;
}

function readText(path: string, readFile: (path: string) => string): string {
  try {
    return readFile(path);
  } catch (error) {
    throw new SluiceError('SLB_E_CONFIG', `--config: ${messageOf(error)}`, { cause: error });
  }
}

function readPair(pair: Pair, path: string, lines: LineCounter): { key: ConfigKey; value: RawValue } {
  const name = isScalar(pair.key) ? String(pair.key.value) : '';
  const line = at(path, lines, isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0);
  const option = options.find((candidate) => candidate.key === name);
  if (option === undefined) {
    throw new SluiceError('SLB_E_CONFIG', `${line}: unknown key "${name}"${suggestion(name)}`);
  }
  const raw = rawOf(pair.value);
  if (raw === undefined) throw new SluiceError('SLB_E_CONFIG', `${line}: ${name}: use ${option.allowed}`);
  return { key: option.key, value: { origin: `${line}: ${name}`, raw } };
}

/** The text as it stands in the file, so that the same rules hold as for flags; numbers keep their spelling. */
function rawOf(node: unknown): string | string[] | undefined {
  if (isScalar(node)) {
    if (node.value === null || node.value === undefined) return undefined;
    return typeof node.value === 'string' ? node.value : node.source;
  }
  if (!isSeq(node)) return undefined;
  const members = node.items.map((item) => rawOf(item));
  return members.every((member) => typeof member === 'string') ? members : undefined;
}

function at(path: string, lines: LineCounter, offset: number): string {
  return `${path}:${String(lines.linePos(offset).line)}`;
}

function suggestion(name: string): string {
  const squash = (word: string): string => word.replace(/[^a-z0-9]/gi, '').toLowerCase();
  const near = options.find((option) => squash(option.key) === squash(name));
  return near === undefined
    ? `: known are ${options.map(({ key }) => key).join(', ')}`
    : `: did you mean ${near.key}?`;
}
