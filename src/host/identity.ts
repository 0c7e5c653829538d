// The node IPs (S-112), and the order of preference of source addresses. Pure.
import type { NetAddress } from '../../native/index.ts';
import { canonicalAddress, familyOf } from '../net/ip.ts';
import type { NodeObject } from '../source/objects.ts';
import { isGlobal, type Network } from './network.ts';
import type { Roles } from './roles.ts';

const deprecated = 0x20; // IFA_F_DEPRECATED
const unusable = 0x40 | 0x08; // IFA_F_TENTATIVE, IFA_F_DADFAILED: duplicate address detection
const temporary = 0x01; // IFA_F_TEMPORARY of IPv6, IFA_F_SECONDARY of IPv4

/** Those of --node-address, else the first of each family of the Node object, else of the uplinks. */
export function nodeAddressesOf(
  given: readonly string[],
  node: NodeObject | undefined,
  network: Network,
  roles: Roles,
): readonly string[] {
  if (given.length > 0) return given.flatMap((text) => canonicalAddress(text) ?? []);
  const ofType = (wanted: string): string[] =>
    (node?.addresses ?? []).flatMap(({ type, address }) =>
      type === wanted ? (canonicalAddress(address) ?? []) : [],
    );
  const told = [...ofType('InternalIP'), ...ofType('ExternalIP')];
  if (told.length > 0) return firstOfEachFamily(told);
  const uplinks = network.addresses.filter(({ index }) => roles.get(index) === 'uplink');
  return firstOfEachFamily(bestFirst(uplinks));
}

/** Addresses that are valid as a source, in the kernel's order of preference. */
export function bestFirst(addresses: readonly NetAddress[]): readonly string[] {
  const usable = addresses.filter((one) => isGlobal(one) && (one.flags & unusable) === 0);
  const isSecond = ({ address, flags }: NetAddress): boolean =>
    (flags & deprecated) !== 0 || (familyOf(address) === 6 && (flags & temporary) !== 0);
  return [...usable.filter((one) => !isSecond(one)), ...usable.filter(isSecond)].map(
    ({ address }) => address,
  );
}

function firstOfEachFamily(addresses: readonly string[]): readonly string[] {
  return addresses.filter(
    (address, at) => addresses.findIndex((other) => familyOf(other) === familyOf(address)) === at,
  );
}
