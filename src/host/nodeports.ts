// At which addresses of this node NodePorts answer (S-56, S-57). Pure.
import { canonicalCidr, cidrContains, cidrFamily } from '../model/cidr.ts';
import { familyOf } from '../model/ip.ts';
import type { HostAddress } from '../model/types.ts';
import type { Family } from '../source/objects.ts';

export interface NodePortOptions {
  /** CIDRs, or the word `primary` alone; [] for all. */
  readonly addresses: readonly string[];
  readonly localhost: boolean;
}

export interface NodePortPlaces {
  readonly addresses: readonly HostAddress[];
  readonly notes: readonly string[];
}

const families: readonly Family[] = [4, 6];

/** `local` are the addresses the kernel has, canonical; `primary` those by which the cluster knows this node. */
export function placeNodePorts(
  local: readonly string[],
  primary: readonly string[],
  { addresses: wanted, localhost }: NodePortOptions,
): NodePortPlaces {
  const isWanted = wanted.includes('primary') ? among(primary) : inside(wanted);
  const addresses = local.map((address) => {
    const loopback = isLoopback(address);
    return { address, loopback, nodePort: isWanted(address) && (localhost || !loopback) };
  });
  const empty = families.filter((family) => {
    const own = addresses.filter(({ address, loopback }) => familyOf(address) === family && !loopback);
    return own.length > 0 && own.every(({ nodePort }) => !nodePort);
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

function among(primary: readonly string[]): (address: string) => boolean {
  return (address) => primary.includes(address);
}

/** A family without a range in the list is not restricted. */
function inside(texts: readonly string[]): (address: string) => boolean {
  const ranges = texts.flatMap((text) => canonicalCidr(text) ?? []);
  return (address) => {
    const own = ranges.filter((range) => cidrFamily(range) === familyOf(address));
    return own.length === 0 || own.some((range) => cidrContains(range, address));
  };
}
