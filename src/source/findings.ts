// Parts of Services and EndpointSlices that have no effect, and why. Each object is valid by itself; the cause is in
// other objects, or in a field that an API server would have filled in. Pure.
import type { Family } from '../net/ip.ts';
import type { EndpointPort, EndpointSliceObject, ServiceObject, ServicePortSpec } from './objects.ts';
import { parseFamily } from '../net/ip.ts';
import { serviceNameLabel } from './parse/endpointslice.ts';
import { foreignLabelOf } from './parse/meta.ts';

export interface Finding {
  readonly object: ServiceObject | EndpointSliceObject;
  readonly field: string;
  readonly message: string;
}

/** For a Service, which need not exist, and the slices that name it. */
export function findingsOf(
  service: ServiceObject | undefined,
  slices: readonly EndpointSliceObject[],
): readonly Finding[] {
  if (service === undefined) return slices.map(orphaned);
  if (isNotProxied(service)) return [];
  const families = familiesOf(service);
  return [
    ...addressFindings(service, families),
    ...portFindings(service),
    ...slices.flatMap((slice) => sliceFindings(service, slice, families)),
    ...unservedPorts(service, slices, families),
  ];
}

/** Addresses and ports that several Services have. An API server would have refused all but the first (S-19). */
export function sharedBy(services: readonly ServiceObject[]): readonly Finding[] {
  const first = new Map<string, ServiceObject>();
  const found: Finding[] = [];
  const add = (service: ServiceObject, field: string, what: string): void => {
    const { meta } = first.get(what) ?? service;
    const message = `${what} is in use by Service ${meta.namespace}/${meta.name} too: only one of them is served`;
    if (first.has(what)) found.push({ object: service, field, message });
    else first.set(what, service);
  };
  for (const service of services.filter((one) => !isNotProxied(one))) {
    for (const address of new Set(service.clusterIPs)) add(service, 'spec.clusterIP', address);
    const nodePorts = service.ports.filter(({ nodePort }) => nodePort !== 0);
    for (const { nodePort, protocol } of nodePorts)
      add(service, 'spec.ports', `NodePort ${nodePort}/${protocol}`);
    if (hasHealthCheck(service) && service.healthCheckNodePort !== 0)
      add(service, 'spec.healthCheckNodePort', `port ${service.healthCheckNodePort} for health checks`);
  }
  return found;
}

/** Why nothing is forwarded for the Service; undefined when something is. */
export function whyNotForwarded(service: ServiceObject): string | undefined {
  const label = foreignLabelOf(service.meta);
  if (label !== undefined) return `its label ${label} assigns it to another proxy`;
  if (service.type === 'ExternalName') return 'type ExternalName is served by DNS alone';
  if (service.clusterIPs.includes('None')) return 'it is headless: clients connect to its endpoints';
  if (service.clusterIPs.length === 0) return 'it has no ClusterIP';
  return service.ports.length === 0 ? 'it has no ports' : undefined;
}

/** Services that are not proxied by intent: nothing is missing in them. */
function isNotProxied({ meta, type, clusterIPs }: ServiceObject): boolean {
  return foreignLabelOf(meta) !== undefined || type === 'ExternalName' || clusterIPs.includes('None');
}

/** Whether load balancers check its health at healthCheckNodePort (S-13). */
function hasHealthCheck({ type, externalTrafficPolicy }: ServiceObject): boolean {
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
}

function orphaned(slice: EndpointSliceObject): Finding {
  const { meta, serviceName } = slice;
  const message =
    serviceName === ''
      ? `without the label ${serviceNameLabel} its endpoints belong to no Service`
      : `there is no Service ${meta.namespace}/${serviceName}, which the label ${serviceNameLabel} names`;
  return { object: slice, field: 'metadata.labels', message };
}

/** The families in which it has a ClusterIP, and so is served (S-9). */
function familiesOf({ clusterIPs, ipFamilies }: ServiceObject): ReadonlySet<Family> {
  const served = clusterIPs.map((text, index) => {
    const family = parseFamily(text);
    return ipFamilies[index] === undefined || ipFamilies[index] === family ? family : undefined;
  });
  return new Set(served.filter((family) => family !== undefined));
}

function addressFindings(service: ServiceObject, families: ReadonlySet<Family>): readonly Finding[] {
  const { clusterIPs, ipFamilies, externalIPs, loadBalancerIPs, type } = service;
  const found: Finding[] = [];
  const note = (field: string, message: string): unknown => found.push({ object: service, field, message });
  if (clusterIPs.length === 0)
    note('spec.clusterIP', 'is missing: none is assigned without an API server, so nothing is forwarded');
  for (const [index, text] of clusterIPs.entries()) {
    const [family, declared] = [parseFamily(text), ipFamilies[index]];
    const earlier = clusterIPs.slice(0, index).some((other) => parseFamily(other) === family);
    if (declared !== undefined && declared !== family)
      note(
        `spec.clusterIPs[${index}]`,
        `${text} is not IPv${declared}, as ipFamilies says: it is not served`,
      );
    else if (earlier)
      note(`spec.clusterIPs[${index}]`, `${text} is the second of its family: it is not served`);
  }
  const others = [
    ...externalIPs.map((text) => ['spec.externalIPs', text] as const),
    ...loadBalancerIPs.map((text) => ['status.loadBalancer.ingress', text] as const),
  ];
  for (const [field, text] of clusterIPs.length === 0 ? [] : others) {
    const family = parseFamily(text);
    if (family !== undefined && !families.has(family))
      note(field, `${text} is not served: the Service has no ClusterIP of IPv${family}`);
  }
  if (type === 'LoadBalancer' && loadBalancerIPs.length === 0)
    note(
      'status.loadBalancer.ingress',
      'has no address: spec.loadBalancerIP is not used, and none is assigned without a controller',
    );
  return found;
}

function portFindings(service: ServiceObject): readonly Finding[] {
  const { ports, type } = service;
  const found: Finding[] = [];
  const note = (field: string, message: string): unknown => found.push({ object: service, field, message });
  if (ports.length === 0) note('spec.ports', 'is empty: nothing is forwarded');
  for (const [index, port] of ports.entries()) {
    const earlier = ports.slice(0, index);
    const field = `spec.ports[${index}]`;
    if (earlier.some((other) => isSamePort(other, port)))
      note(`${field}.name`, `${nameOf(port)} is the name of an earlier port, which is used`);
    else if (earlier.some((other) => other.port === port.port && other.protocol === port.protocol))
      note(
        `${field}.port`,
        `${port.port}/${port.protocol} is in use by another port: only one of them is served`,
      );
    if (type === 'NodePort' && port.nodePort === 0)
      note(`${field}.nodePort`, 'is missing: none is assigned without an API server');
  }
  if (hasHealthCheck(service) && service.healthCheckNodePort === 0)
    note(
      'spec.healthCheckNodePort',
      'is missing: none is assigned without an API server, so load balancers cannot check this node',
    );
  return found;
}

function sliceFindings(
  service: ServiceObject,
  slice: EndpointSliceObject,
  families: ReadonlySet<Family>,
): readonly Finding[] {
  const { meta, ports, clusterIPs } = service;
  const note = (field: string, message: string): Finding => ({ object: slice, field, message });
  const label = foreignLabelOf(slice.meta);
  if (label !== undefined) return [note('metadata.labels', `the label ${label} assigns it to another proxy`)];
  if (slice.addressType === 'FQDN')
    return [note('addressType', 'FQDN is not supported: the slice is skipped')];
  const family = familyOfSlice(slice);
  if (clusterIPs.length > 0 && !families.has(family)) {
    const name = `${meta.namespace}/${meta.name}`;
    return [note('addressType', `Service ${name} has no ClusterIP of IPv${family}: the slice is skipped`)];
  }
  if (slice.ports.length === 0) return [note('ports', 'has no port that can be used: the slice is skipped')];
  return slice.ports.flatMap((port) => {
    if (ports.some((own) => isSamePort(own, port))) return [];
    const known = ports.map(nameOf).join(', ') || 'none';
    return [
      note(
        'ports',
        `${nameOf(port)} is no port of Service ${meta.namespace}/${meta.name}: use one of ${known}`,
      ),
    ];
  });
}

/**
 * Ports of the Service that no slice has. None where a slice has an unknown port: that finding names the known ones.
 */
function unservedPorts(
  service: ServiceObject,
  slices: readonly EndpointSliceObject[],
  families: ReadonlySet<Family>,
): readonly Finding[] {
  const own = slices.filter(
    (slice) =>
      slice.addressType !== 'FQDN' &&
      families.has(familyOfSlice(slice)) &&
      foreignLabelOf(slice.meta) === undefined,
  );
  const offered = own.flatMap(({ ports }) => ports);
  if (offered.length === 0 || offered.some((port) => !service.ports.some((one) => isSamePort(one, port))))
    return [];
  return service.ports.flatMap((port, index) => {
    if (offered.some((one) => isSamePort(one, port))) return [];
    const message = `no EndpointSlice has ${nameOf(port)}: connections are refused`;
    return [{ object: service, field: `spec.ports[${index}].name`, message }];
  });
}

function familyOfSlice({ addressType }: EndpointSliceObject): Family {
  return addressType === 'IPv6' ? 6 : 4;
}

type Named = Pick<ServicePortSpec | EndpointPort, 'name' | 'protocol'>;

/** S-24: not the number. */
function isSamePort(a: Named, b: Named): boolean {
  return a.name === b.name && a.protocol === b.protocol;
}

function nameOf({ name, protocol }: Named): string {
  return `"${name}" (${protocol})`;
}
