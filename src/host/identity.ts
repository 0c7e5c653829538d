// By which addresses the cluster knows this node (S-112). Pure.
import type { NetAddress } from '../../native/index.ts';
import { canonicalAddress, familyOf } from '../net/ip.ts';
import type { NodeObject } from '../source/objects.ts';
import { isGlobal, type Network } from './network.ts';
import type { Roles } from './roles.ts';

/** IFA_F_*: deprecated, tentative (not yet known to be unique), found to be another's, temporary (IPv6) or secondary. */
const deprecated = 0x20;
const unusable = 0x40 | 0x08;
const temporary = 0x01;

/** As told by the operator, else by the Node object, else those of the uplinks; the first of each family. */
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

/** The addresses that packets may have as their source, those that the kernel would choose first in front. */
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
