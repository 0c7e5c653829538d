// Source ranges: from which addresses clients may connect to external frontends (S-61).
import type { Family } from '../net/ip.ts';
import { canonicalCidr, cidrContains, cidrFamily, hostCidr } from '../net/cidr.ts';

/** Canonical ranges of this family, sorted, without duplicates. Invalid ones are left out: the source reports them. */
export function rangesIn(texts: readonly string[], family: Family): readonly string[] {
  if (texts.length === 0) return texts;
  const found = texts.flatMap((text) => canonicalCidr(text) ?? []);
  return [...new Set(found)].filter((range) => cidrFamily(range) === family).sort();
}

/**
 * The ranges that may connect to load balancer IPs; [] for all. If they include this node, the load balancer IPs are
 * added: where such an address is bound on the node, the kernel uses it as the source of connections to it.
 */
export function allowedSources(
  texts: readonly string[],
  family: Family,
  loadBalancer: readonly string[],
  nodeAddresses: readonly string[],
): readonly string[] {
  const ranges = rangesIn(texts, family);
  const includesNode = ranges.some((range) => nodeAddresses.some((address) => cidrContains(range, address)));
  return includesNode ? [...new Set([...ranges, ...loadBalancer.map(hostCidr)])].sort() : ranges;
}
