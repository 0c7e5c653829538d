// The flags of kube-proxy that are not flags of ours as well.
import { options } from '../schema.ts';
import { proxyOptions, type ProxyOption } from './table.ts';
import { translate, type Given, type Translated } from './translate.ts';

/** Those that the command line needs to know besides ours. */
export const proxyFlags: readonly ProxyOption[] = proxyOptions.filter(
  ({ flag }) => flag !== '' && options.every((own) => own.flag !== `--${flag}`),
);

/** As commander names them: hostname-override → hostnameOverride. */
export function attributeOf(flag: string): string {
  return flag.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
}

/** `beside` is a KubeProxyConfiguration, if there is one: flags that are a field of it do not count (S-114). */
export function readProxyFlags(
  flags: Readonly<Record<string, string | undefined>>,
  beside: string | undefined,
): Translated {
  const given: Given[] = [];
  const unheeded: string[] = [];
  for (const option of proxyFlags) {
    const raw = flags[attributeOf(option.flag)];
    if (raw === undefined) continue;
    const origin = `--${option.flag}`;
    const counts = beside === undefined || option.field === '' || option.winsOverFile;
    if (counts) given.push({ option, raw, origin });
    else unheeded.push(ignoredBeside(origin, beside));
  }
  const { values, notes } = translate(given);
  return { values, notes: [...unheeded, ...notes] };
}

export function ignoredBeside(flag: string, file: string): string {
  return `${flag}: ignored: ${file} is a KubeProxyConfiguration, which has a field for it`;
}
