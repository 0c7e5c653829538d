// The frontends of a service port: the addresses and ports that clients connect to.
import type { ServiceObject, ServicePortSpec } from '../source/objects.ts';
import { canonicalAddress, familyOf, type Family } from '../net/ip.ts';
import type { Frontend } from './types.ts';

/** The address of NodePort frontends, which stands for every address of the node. */
export const unspecified: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };

/** The ClusterIP in this family; undefined when the Service has none there, and so no frontend at all (S-9). */
export function clusterAddress(service: ServiceObject, family: Family): string | undefined {
  const { clusterIPs, ipFamilies } = service;
  for (const [index, text] of clusterIPs.entries()) {
    const declared = ipFamilies[index];
    const address = text === 'None' ? undefined : canonicalAddress(text);
    if (address === undefined || !isUsable(address, family)) continue;
    if (declared === undefined || declared === family) return address;
  }
  return undefined;
}

/** False for type ExternalName (S-3) and for headless Services (S-4). */
export function isProxied(service: ServiceObject): boolean {
  return service.type !== 'ExternalName' && service.clusterIPs.some((ip) => ip !== '' && ip !== 'None');
}

/** Whether it has frontends for clients outside the cluster; externalTrafficPolicy applies only then (S-11). */
export function isExternallyAccessible(service: ServiceObject): boolean {
  return service.type !== 'ClusterIP' || service.externalIPs.length > 0;
}

/** The addresses of a Service in one family; each port has a frontend at each of them (S-62). */
export interface Addresses {
  readonly cluster: string;
  readonly external: readonly string[]; // S-17
  readonly loadBalancer: readonly string[]; // S-16
}

export function addressesIn(service: ServiceObject, family: Family): Addresses | undefined {
  const cluster = clusterAddress(service, family);
  if (cluster === undefined) return undefined;
  const loadBalancer = addressesOf(service.loadBalancerIPs, family);
  // An address that is both has the stricter rules, those of a load balancer IP (S-61).
  const external = addressesOf(service.externalIPs, family).filter((ip) => !loadBalancer.includes(ip));
  return { cluster, external, loadBalancer };
}

export function frontendsOf(
  addresses: Addresses,
  spec: ServicePortSpec,
  family: Family,
): readonly Frontend[] {
  const { port, nodePort } = spec;
  const frontends: Frontend[] = [{ kind: 'ClusterIP', address: addresses.cluster, port }];
  for (const address of addresses.external) frontends.push({ kind: 'ExternalIP', address, port });
  for (const address of addresses.loadBalancer) frontends.push({ kind: 'LoadBalancer', address, port });
  if (nodePort !== 0) frontends.push({ kind: 'NodePort', address: unspecified[family], port: nodePort });
  return frontends;
}

export function hasExternalFrontend(frontends: readonly Frontend[]): boolean {
  return frontends.some(({ kind }) => kind !== 'ClusterIP');
}

/** Canonical, without duplicates. */
function addressesOf(texts: readonly string[], family: Family): readonly string[] {
  if (texts.length === 0) return texts;
  const found = texts.flatMap((text) => canonicalAddress(text) ?? []);
  return [...new Set(found)].filter((address) => isUsable(address, family));
}

/** The unspecified address is the key of NodePorts, so no other frontend may have it. */
function isUsable(address: string, family: Family): boolean {
  return familyOf(address) === family && address !== unspecified[family];
}
