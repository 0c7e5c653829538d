// Addresses of this node that accept NodePort connections (S-56, S-57). Pure.
import { canonicalCidr, cidrContains, cidrFamily } from '../net/cidr.ts';
import { familyOf, isLoopback, type Family } from '../net/ip.ts';
import type { HostAddress } from '../model/types.ts';

export interface NodePortOptions {
  /** CIDRs and the words of `nodePortWords`; [] for all. */
  readonly addresses: readonly string[];
  readonly localhost: boolean;
}

export interface NodePortPlaces {
  readonly addresses: readonly HostAddress[];
  readonly notes: readonly string[];
}

/** Every address; loopback addresses; the node IPs. */
export const nodePortWords: ReadonlySet<string> = new Set(['all', 'localhost', 'primary']);

const families: readonly Family[] = [4, 6];

/** Whether every address is wanted. */
export function isEverywhere(wanted: readonly string[]): boolean {
  return wanted.length === 0 || wanted.includes('all');
}

/** `local`: addresses of the kernel; `primary`: node IPs; both canonical. */
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
      `--nodeport-addresses ${wanted.join(',')} matches no IPv${family} address of this node: no NodePort is served over IPv${family}`,
  );
  return { addresses, notes };
}

/** Words apply to both families. With ranges alone, a family without a range is not restricted. */
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
