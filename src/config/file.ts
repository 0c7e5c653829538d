// The configuration file: ours, or a KubeProxyConfiguration, which has an apiVersion or a kind.
import { isMap, isScalar, isSeq, LineCounter, parseDocument, stringify, type Pair, type YAMLMap } from 'yaml';
import { options, type Config, type ConfigKey, type RawValue } from './schema.ts';
import { SluiceError, messageOf } from '../errors.ts';
import { isProxyConfig, readProxyConfig, type Locate } from './kubeproxy/file.ts';
import { exactDuration } from '../units.ts';

export interface ConfigFile {
  readonly isProxyConfig: boolean;
  readonly values: ReadonlyMap<ConfigKey, RawValue>;
  /** Values that are ignored, and why. */
  readonly notes: readonly string[];
}

export const noFile: ConfigFile = { isProxyConfig: false, values: new Map(), notes: [] };

export function readConfigFile(path: string, readFile: (path: string) => string): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(readText(path, readFile), { lineCounter: lines });
  const locate: Locate = (offset) => `${path}:${String(lines.linePos(offset).line)}`;
  const [broken] = document.errors;
  if (broken !== undefined) {
    const reason = broken.message.split('\n')[0] ?? 'not YAML';
    throw new SluiceError('SLB_E_CONFIG', `${locate(broken.pos[0])}: ${reason}`);
  }
  const { contents } = document;
  if (contents === null) return noFile; // an empty file sets nothing
  if (!isMap(contents))
    throw new SluiceError('SLB_E_CONFIG', `${path}:1: use a mapping of "key: value" lines`);
  if (isProxyConfig(contents)) return { isProxyConfig: true, ...readProxyConfig(contents, locate) };
  return { ...noFile, values: readOwn(contents, locate) };
}

function readText(path: string, readFile: (path: string) => string): string {
  try {
    return readFile(path);
  } catch (error) {
    throw new SluiceError('SLB_E_CONFIG', `--config: ${messageOf(error)}`, { cause: error });
  }
}

function readOwn(map: YAMLMap, locate: Locate): Map<ConfigKey, RawValue> {
  return new Map(map.items.map((pair) => readPair(pair, locate)));
}

function readPair(pair: Pair, locate: Locate): [ConfigKey, RawValue] {
  const name = isScalar(pair.key) ? String(pair.key.value) : '';
  const line = locate(isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0);
  const option = options.find((candidate) => candidate.key === name);
  if (option === undefined) {
    throw new SluiceError('SLB_E_CONFIG', `${line}: unknown key "${name}"${suggestion(name)}`);
  }
  const raw = rawOf(pair.value);
  if (raw === undefined) throw new SluiceError('SLB_E_CONFIG', `${line}: ${name}: use ${option.allowed}`);
  return [option.key, { origin: `${line}: ${name}`, raw }];
}

/** The text as written in the file, so that it is checked as a flag is; numbers keep their spelling. */
function rawOf(node: unknown): string | string[] | undefined {
  if (isScalar(node)) {
    if (node.value === null || node.value === undefined) return undefined;
    return typeof node.value === 'string' ? node.value : node.source;
  }
  if (!isSeq(node)) return undefined;
  const members = node.items.map((item) => rawOf(item));
  return members.every((member) => typeof member === 'string') ? members : undefined;
}

function suggestion(name: string): string {
  const squash = (word: string): string => word.replace(/[^a-z0-9]/gi, '').toLowerCase();
  const near = options.find((option) => squash(option.key) === squash(name));
  return near === undefined
    ? `: known are ${options.map(({ key }) => key).join(', ')}`
    : `: did you mean ${near.key}?`;
}

/** The configuration as a file for any node: a nodeName that is the host name is left out. */
export function formatConfig(config: Config, hostname: string): string {
  const entries = options.flatMap(({ key, kind }) => {
    const value = config[key];
    if (value === undefined || (key === 'nodeName' && value === hostname.trim().toLowerCase())) return [];
    return [[key, kind === 'duration' ? exactDuration(Number(value)) : value]];
  });
  return stringify(Object.fromEntries(entries));
}
