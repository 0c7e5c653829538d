// KubeProxyConfiguration, as kubeadm writes it (S-114). Read field by field: errors name the field and its line.
import { isMap, isScalar, isSeq, type Pair, type YAMLMap } from 'yaml';
import { SluiceError } from '../../errors.ts';
import { text } from './forms.ts';
import { proxyOptions } from './table.ts';
import { translate, type Given, type Translated } from './translate.ts';

const group = 'kubeproxy.config.k8s.io/';
const version = `${group}v1alpha1`;
const kind = 'KubeProxyConfiguration';

/** Offset in the file → "FILE:LINE". */
export type Locate = (offset: number) => string;

/** A document with an apiVersion or a kind is not one of ours. */
export function isProxyConfig(map: YAMLMap): boolean {
  return map.has('apiVersion') || map.has('kind');
}

export function readProxyConfig(map: YAMLMap, locate: Locate): Translated {
  refuseOther(map, 'apiVersion', version, locate);
  refuseOther(map, 'kind', kind, locate);
  const fields = fieldsOf(map, '', locate).filter(({ path }) => path !== 'apiVersion' && path !== 'kind');
  const given: Given[] = [];
  const unknown: string[] = [];
  for (const { path, raw, where } of fields) {
    const option = proxyOptions.find(({ field }) => field === path);
    const origin = `${where}: ${path}`;
    if (raw === undefined && option !== undefined && !('ignored' in option.meaning && option.form === text))
      throw new SluiceError(
        'SLB_E_CONFIG',
        `${origin}: a list or mapping is not allowed: use ${option.form.allowed}`,
      );
    if (proxyOptions.some(({ field }) => field.startsWith(`${path}.`)))
      throw new SluiceError('SLB_E_CONFIG', `${origin}: use a mapping of "key: value" lines`);
    if (option !== undefined) given.push({ option, raw: raw ?? 'a list', origin });
    // v1alpha1 is decoded leniently by kube-proxy too: unknown fields are warnings.
    else unknown.push(`${origin}: ignored: unknown field`);
  }
  const { values, notes } = translate(given);
  return { values, notes: [...unknown, ...notes] };
}

function refuseOther(map: YAMLMap, field: string, wanted: string, locate: Locate): void {
  const value = map.get(field);
  if (value === wanted) return;
  const shown = typeof value === 'string' ? `"${value}"` : 'nothing';
  throw new SluiceError(
    'SLB_E_CONFIG',
    `${locate(map.range?.[0] ?? 0)}: ${field}: ${shown} is not allowed: use ${wanted}`,
  );
}

interface Field {
  readonly path: string; // a.b.c
  readonly raw: string | undefined; // undefined: a list of lists or mappings
  readonly where: string;
}

/** Every value that is set: null and empty text count as unset, as for kube-proxy. */
function fieldsOf(map: YAMLMap, prefix: string, locate: Locate): Field[] {
  return map.items.flatMap((pair) => {
    const name = isScalar(pair.key) ? String(pair.key.value) : '';
    const where = locate(isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0);
    const path = `${prefix}${name}`;
    if (isMap(pair.value) && path !== 'featureGates') return fieldsOf(pair.value, `${path}.`, locate);
    const raw = textOf(pair);
    return raw === '' ? [] : [{ path, raw, where }];
  });
}

function textOf({ value }: Pair): string | undefined {
  if (isMap(value)) {
    const gates = Object.entries(value.toJSON() as Record<string, unknown>);
    return gates.map(([gate, on]) => `${gate}=${String(on)}`).join();
  }
  if (isSeq(value)) {
    const members = value.items.map(scalarText);
    return members.includes(undefined) ? undefined : members.join();
  }
  return scalarText(value);
}

function scalarText(node: unknown): string | undefined {
  if (node === null) return '';
  if (!isScalar(node)) return undefined;
  if (node.value === null || node.value === undefined) return '';
  return typeof node.value === 'string' ? node.value : node.source;
}
