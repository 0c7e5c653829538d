// A raw v1 Service, narrowed, with the API's defaults applied.
import type { Family } from '../../net/ip.ts';
import type { Protocol, ServiceObject, ServicePortSpec } from '../objects.ts';
import { parseFamily } from '../../net/ip.ts';
import { address, addresses, cidr } from './address.ts';
import { parseMeta } from './meta.ts';
import { annotatedSocketHooks } from './sockethooks.ts';
import { at, choice, integer, isAbsent, items, oneOf, skip, reject, text, type Place } from './reader.ts';

const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const policies = ['Cluster', 'Local'] as const;
const families = ['IPv4', 'IPv6'] as const;
export const protocols = ['TCP', 'UDP', 'SCTP'] as const satisfies readonly Protocol[];
export const maxPort = 65535;

const defaultAffinitySec = 10800; // S-14
const maxAffinitySec = 86400;

const denyAnnotation = 'sluice.dev/deny-source-ranges';

export function parseService(object: Place): ServiceObject | undefined {
  const meta = parseMeta(object, 'default');
  if (meta === undefined) return undefined;
  const spec = at(object, 'spec');
  const clusterIPs = parseClusterIPs(spec);
  return {
    kind: 'Service',
    meta,
    type: choice(at(spec, 'type'), types, 'ClusterIP'),
    clusterIPs,
    ipFamilies: parseFamilies(spec, clusterIPs),
    externalIPs: addresses(at(spec, 'externalIPs')),
    loadBalancerIPs: parseVips(object),
    loadBalancerSourceRanges: items(at(spec, 'loadBalancerSourceRanges')).flatMap(
      (place) => parseRange(place, text(place) ?? '') ?? [],
    ),
    deniedSourceRanges: parseDenied(object),
    socketHooks: annotatedSocketHooks(object) ?? true,
    ports: parsePorts(spec),
    internalTrafficPolicy: choice(at(spec, 'internalTrafficPolicy'), policies, 'Cluster'),
    externalTrafficPolicy: choice(at(spec, 'externalTrafficPolicy'), policies, 'Cluster'),
    affinitySec: parseAffinity(spec),
    healthCheckNodePort: integer(at(spec, 'healthCheckNodePort'), 0, maxPort) ?? 0,
  };
}

/** clusterIPs, or clusterIP of objects from before dual stack. "None" (headless) is kept as text (S-3). */
function parseClusterIPs(spec: Place): readonly string[] {
  const list = items(at(spec, 'clusterIPs'));
  const single = at(spec, 'clusterIP');
  if (list.length > 0 && !isAbsent(single) && single.value !== '' && single.value !== list[0]?.value)
    skip(single, 'differs from clusterIPs[0], which is used');
  const places = list.length > 0 ? list : [single];
  return places.flatMap((place) => {
    if (place.value === 'None') return ['None'];
    return place.value === '' ? [] : (address(place) ?? []);
  });
}

/** Without ipFamilies (old objects, manifests written by hand) the families are those of the addresses (S-9). */
function parseFamilies(spec: Place, clusterIPs: readonly string[]): readonly Family[] {
  const given = items(at(spec, 'ipFamilies'));
  if (given.length === 0) return clusterIPs.flatMap((ip) => parseFamily(ip) ?? []);
  return given.flatMap((place) => {
    const family = oneOf(place, families);
    return family === undefined ? [] : [family === 'IPv4' ? 4 : 6];
  });
}

/** status.loadBalancer.ingress, whatever the type of the Service. Addresses with ipMode Proxy are left out (S-16). */
function parseVips(object: Place): readonly string[] {
  return items(at(object, 'status', 'loadBalancer', 'ingress')).flatMap((ingress) => {
    const mode = text(at(ingress, 'ipMode')) ?? 'VIP';
    const ip = at(ingress, 'ip');
    return mode !== 'VIP' || isAbsent(ip) || ip.value === '' ? [] : (address(ip) ?? []);
  });
}

/** Comma-separated CIDRs of clients to deny, in our annotation. */
function parseDenied(object: Place): readonly string[] {
  const place = at(object, 'metadata', 'annotations', denyAnnotation);
  const list = typeof place.value === 'string' ? place.value : ''; // other types are noted with the annotations
  return list.trim() === '' ? [] : list.split(',').flatMap((range) => parseRange(place, range) ?? []);
}

/** Surrounding white space is allowed (S-15). Host bits are cleared where ranges are compared. */
function parseRange(place: Place, range: string): string | undefined {
  return cidr(place, range.trim());
}

function parsePorts(spec: Place): readonly ServicePortSpec[] {
  return items(at(spec, 'ports')).flatMap((place) => {
    const portPlace = at(place, 'port');
    const protocol = parseProtocol(place);
    if (isAbsent(portPlace)) reject(portPlace, 'is missing');
    const port = integer(portPlace, 1, maxPort);
    if (port === undefined || protocol === undefined) return [];
    const nodePort = integer(at(place, 'nodePort'), 0, maxPort) ?? 0;
    return { name: text(at(place, 'name')) ?? '', protocol, port, nodePort };
  });
}

/** The default is TCP. An unknown protocol must not become TCP: such a port is left out. */
export function parseProtocol(port: Place): Protocol | undefined {
  const place = at(port, 'protocol');
  return isAbsent(place) || place.value === '' ? 'TCP' : oneOf(place, protocols);
}

function parseAffinity(spec: Place): number {
  const kind = choice(at(spec, 'sessionAffinity'), ['None', 'ClientIP'], 'None');
  if (kind !== 'ClientIP') return 0;
  const timeout = at(spec, 'sessionAffinityConfig', 'clientIP', 'timeoutSeconds');
  return integer(timeout, 1, maxAffinitySec) ?? defaultAffinitySec;
}
