// Values of kube-proxy's flags and fields → values of our options, and notes on those that are ignored.
import { options, type ConfigKey, type RawValue } from '../schema.ts';
import { SluiceError } from '../../errors.ts';
import { goSeconds } from './forms.ts';
import { proxyOptions, type ProxyOption } from './table.ts';

export interface Given {
  readonly option: ProxyOption;
  readonly raw: string;
  readonly origin: string; // names the flag, or file, line and field
}

export interface Translated {
  readonly values: ReadonlyMap<ConfigKey, RawValue>;
  /** One line for each value that is ignored, with the reason. */
  readonly notes: readonly string[];
}

export function translate(list: readonly Given[]): Translated {
  const values = new Map<ConfigKey, RawValue>();
  const notes: string[] = [];
  for (const { option, raw, origin } of list) {
    const value = read(option, raw, origin);
    if (value === '') continue;
    const { meaning } = option;
    if ('to' in meaning) put(values, meaning.to, { origin, raw: value });
    else if (!isZero(raw)) notes.push(`${origin}: ignored: ${meaning.ignored}`);
  }
  checkPeriods(list);
  listenInFamily(list, values);
  return { values, notes };
}

function read({ form }: ProxyOption, raw: string, origin: string): string {
  const value = form.read(raw.trim());
  if (value !== undefined) return value;
  throw new SluiceError('SLB_E_CONFIG', `${origin}: "${raw}" is not allowed: use ${form.allowed}`);
}

/** Several flags and fields set one option for several modes of kube-proxy: true in one of them wins. */
function put(values: Map<ConfigKey, RawValue>, key: ConfigKey, value: RawValue): void {
  if (values.get(key)?.raw !== 'true') values.set(key, value);
}

/** kubeadm writes every field, also those with the zero value: no note on them. */
function isZero(raw: string): boolean {
  return raw === '0' || raw === 'false' || raw === '0s';
}

/** minSyncPeriod must not be longer than syncPeriod, in any mode (S-116). */
function checkPeriods(list: readonly Given[]): void {
  const secondsOf = (field: string): { seconds: number; origin: string } | undefined => {
    const given = list.find(({ option }) => option.field === field);
    const seconds = given === undefined ? 0 : (goSeconds(given.raw) ?? 0);
    return given === undefined || seconds === 0 ? undefined : { seconds, origin: given.origin };
  };
  for (const mode of ['iptables', 'nftables', 'ipvs']) {
    const least = secondsOf(`${mode}.minSyncPeriod`);
    const most = secondsOf(`${mode}.syncPeriod`);
    if (least !== undefined && most !== undefined && least.seconds > most.seconds) {
      throw new SluiceError('SLB_E_CONFIG', `${least.origin}: longer than ${mode}.syncPeriod is not allowed`);
    }
  }
}

/** As kube-proxy: with an IPv6 --bind-address, health and metrics servers without an address listen on IPv6. */
function listenInFamily(list: readonly Given[], values: Map<ConfigKey, RawValue>): void {
  const bound = list.find(({ option }) => option.field === 'bindAddress');
  if (bound?.raw.includes(':') !== true) return;
  const { origin } = bound;
  const defaults = { healthzBindAddress: '[::]:10256', metricsBindAddress: '[::1]:10249' } as const;
  for (const [key, raw] of Object.entries(defaults) as [keyof typeof defaults, string][]) {
    if (!values.has(key)) values.set(key, { origin, raw });
  }
}

/** Options that have the same flag in kube-proxy. */
export const sharedWithProxy: ReadonlySet<ConfigKey> = new Set(
  options.filter((own) => proxyOptions.some(({ flag }) => `--${flag}` === own.flag)).map(({ key }) => key),
);

/** Of these, the ones that are a field of KubeProxyConfiguration: with such a file, the flag is ignored (S-114). */
export const fieldsOfProxyFile: ReadonlySet<ConfigKey> = new Set(
  proxyOptions.flatMap(({ flag, field, meaning, winsOverFile }) =>
    'to' in meaning && flag !== '' && field !== '' && !winsOverFile ? [meaning.to] : [],
  ),
);
