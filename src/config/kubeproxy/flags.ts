// The flags that kube-proxy has and Sluice has not under the same name.
import { options } from '../schema.ts';
import { proxyOptions, type ProxyOption } from './table.ts';
import { translate, type Given, type Translated } from './translate.ts';

/** The flags to accept on the command line in addition to ours. */
export const proxyFlags: readonly ProxyOption[] = proxyOptions.filter(
  ({ flag }) => flag !== '' && options.every((own) => own.flag !== `--${flag}`),
);

/** As commander names them: hostname-override → hostnameOverride. */
export function attributeOf(flag: string): string {
  return flag.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
}

/** `proxyFile`: path of the KubeProxyConfiguration, if one is used; flags that are its fields are ignored (S-114). */
export function readProxyFlags(
  flags: Readonly<Record<string, string | undefined>>,
  proxyFile: string | undefined,
): Translated {
  const given: Given[] = [];
  const ignored: string[] = [];
  for (const option of proxyFlags) {
    const raw = flags[attributeOf(option.flag)];
    if (raw === undefined) continue;
    const origin = `--${option.flag}`;
    const counts = proxyFile === undefined || option.field === '' || option.winsOverFile;
    if (counts) given.push({ option, raw, origin });
    else ignored.push(ignoredFlag(origin, proxyFile));
  }
  const { values, notes } = translate(given);
  return { values, notes: [...ignored, ...notes] };
}

export function ignoredFlag(flag: string, file: string): string {
  return `${flag}: ignored: ${file} is a KubeProxyConfiguration, which has a field for it`;
}
