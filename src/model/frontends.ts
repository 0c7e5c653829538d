// The addresses and ports that clients of a service port dial.
import type { ServiceObject, ServicePortSpec } from '../source/objects.ts';
import { canonicalAddress, familyOf, type Family } from '../net/ip.ts';
import type { Frontend } from './types.ts';

/** Every address of a family, where a NodePort is. */
export const unspecified: Readonly<Record<Family, string>> = { 4: '0.0.0.0', 6: '::' };

/** The cluster address in this family; undefined when the Service does not exist in it, with any frontend (S-9). */
export function clusterAddress(service: ServiceObject, family: Family): string | undefined {
  const { clusterIPs, ipFamilies } = service;
  for (const [index, text] of clusterIPs.entries()) {
    const declared = ipFamilies[index];
    const address = text === 'None' ? undefined : canonicalAddress(text);
    if (address === undefined || !isDialled(address, family)) continue;
    if (declared === undefined || declared === family) return address;
  }
  return undefined;
}

/** Never proxied: another name for something else (S-3), or addresses that clients resolve themselves (S-4). */
export function isProxied(service: ServiceObject): boolean {
  return service.type !== 'ExternalName' && service.clusterIPs.some((ip) => ip !== '' && ip !== 'None');
}

/** Whether clients outside the cluster may dial it: without, its externalTrafficPolicy means nothing (S-11). */
export function isExternallyAccessible(service: ServiceObject): boolean {
  return service.type !== 'ClusterIP' || service.externalIPs.length > 0;
}

/** The addresses that a Service has in one family: all its ports are there (S-62). */
export interface Addresses {
  readonly cluster: string;
  readonly external: readonly string[]; // S-17
  readonly loadBalancer: readonly string[]; // S-16
}

export function addressesIn(service: ServiceObject, family: Family): Addresses | undefined {
  const cluster = clusterAddress(service, family);
  if (cluster === undefined) return undefined;
  const loadBalancer = addressesOf(service.loadBalancerIPs, family);
  // An address that is both keeps to the stricter rules, those of a load balancer's (S-61).
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

/** Each once. */
function addressesOf(texts: readonly string[], family: Family): readonly string[] {
  if (texts.length === 0) return texts;
  const found = texts.flatMap((text) => canonicalAddress(text) ?? []);
  return [...new Set(found)].filter((address) => isDialled(address, family));
}

/** The unspecified address stands for all NodePorts, so nothing else may be at it. */
function isDialled(address: string, family: Family): boolean {
  return familyOf(address) === family && address !== unspecified[family];
}
