// From where the external frontends of a Service may be dialled (S-61).
import type { Family } from '../net/ip.ts';
import { canonicalCidr, cidrContains, cidrFamily, hostCidr } from '../net/cidr.ts';

/** Ranges of this family, each once, in order. What is no range is left out: the source has said so. */
export function rangesIn(texts: readonly string[], family: Family): readonly string[] {
  if (texts.length === 0) return texts;
  const found = texts.flatMap((text) => canonicalCidr(text) ?? []);
  return [...new Set(found)].filter((range) => cidrFamily(range) === family).sort();
}

/**
 * Which clients may dial load balancer addresses; [] when all may. Where this node may, so may a client with one of
 * these addresses: bound on the node, they are what its kernel picks as the source towards themselves.
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
