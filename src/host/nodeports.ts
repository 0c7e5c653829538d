// At which addresses of this node NodePorts answer (S-56, S-57). Pure.
import { canonicalCidr, cidrContains, cidrFamily } from '../net/cidr.ts';
import { familyOf, type Family } from '../net/ip.ts';
import type { HostAddress } from '../model/types.ts';

export interface NodePortOptions {
  /** CIDRs and the words of `nodePortWords`, in any mix; [] for all. */
  readonly addresses: readonly string[];
  readonly localhost: boolean;
}

export interface NodePortPlaces {
  readonly addresses: readonly HostAddress[];
  readonly notes: readonly string[];
}

/** All addresses; loopback's; those by which the cluster knows this node. */
export const nodePortWords: ReadonlySet<string> = new Set(['all', 'localhost', 'primary']);

const families: readonly Family[] = [4, 6];

/** Nothing is left out, loopback perhaps. */
export function isEverywhere(wanted: readonly string[]): boolean {
  return wanted.length === 0 || wanted.includes('all');
}

/** `local` are the addresses the kernel has, canonical; `primary` those by which the cluster knows this node. */
export function placeNodePorts(
  local: readonly string[],
  primary: readonly string[],
  { addresses: wanted, localhost }: NodePortOptions,
): NodePortPlaces {
  const isWanted = matcher(wanted, primary);
  const addresses = local.map((address) => {
    const loopback = isLoopback(address);
    return { address, loopback, nodePort: isWanted(address) && (localhost || !loopback) };
  });
  const empty = families.filter((family) => {
    const own = addresses.filter(({ address }) => familyOf(address) === family);
    return own.some(({ loopback }) => !loopback) && own.every(({ nodePort }) => !nodePort);
  });
  const notes = empty.map(
    (family) =>
      `--nodeport-addresses ${wanted.join(',')} fits no IPv${family} address of this node: no NodePort answers over IPv${family}`,
  );
  return { addresses, notes };
}

export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** A word is about both families. With ranges alone, a family without one is not restricted. */
function matcher(wanted: readonly string[], primary: readonly string[]): (address: string) => boolean {
  if (isEverywhere(wanted)) return () => true;
  const ranges = wanted.flatMap((text) => canonicalCidr(text) ?? []);
  const free = families.filter((family) => ranges.every((range) => cidrFamily(range) !== family));
  const unrestricted = wanted.some((text) => nodePortWords.has(text)) ? [] : free;
  return (address) =>
    unrestricted.includes(familyOf(address)) ||
    (wanted.includes('primary') && primary.includes(address)) ||
    (wanted.includes('localhost') && isLoopback(address)) ||
    ranges.some((range) => cidrFamily(range) === familyOf(address) && cidrContains(range, address));
}
