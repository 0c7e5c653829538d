// The addresses and ports that clients of a service port dial.
import type { Family, ServiceObject, ServicePortSpec } from '../source/objects.ts';
import { canonicalAddress, familyOf } from './ip.ts';
import type { Frontend } from './types.ts';

/** The cluster address in this family; undefined when the Service does not exist in it, with any frontend (S-9). */
export function clusterAddress(service: ServiceObject, family: Family): string | undefined {
  const { clusterIPs, ipFamilies } = service;
  for (const [index, text] of clusterIPs.entries()) {
    const declared = ipFamilies[index];
    const address = text === 'None' ? undefined : canonicalAddress(text);
    if (address === undefined || familyOf(address) !== family) continue;
    if (declared === undefined || declared === family) return address;
  }
  return undefined;
}

/** Never proxied: another name for something else (S-3), or addresses that clients resolve themselves (S-4). */
export function isProxied(service: ServiceObject): boolean {
  return service.type !== 'ExternalName' && service.clusterIPs.some((ip) => ip !== '' && ip !== 'None');
}

export function frontendsOf(clusterIp: string, port: ServicePortSpec): readonly Frontend[] {
  return [{ kind: 'ClusterIP', address: clusterIp, port: port.port }];
}
