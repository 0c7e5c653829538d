// What Services and EndpointSlices say that nothing follows from, and why. Each object is sound by itself; what is wrong
// shows only beside the others, or is what an API server would have filled in. Pure.
import type { Family } from '../net/ip.ts';
import type { EndpointPort, EndpointSliceObject, ServiceObject, ServicePortSpec } from './objects.ts';
import { familyOf } from './parse/address.ts';
import { serviceNameLabel } from './parse/endpointslice.ts';
import { foreignLabelOf } from './parse/meta.ts';

export interface Finding {
  readonly object: ServiceObject | EndpointSliceObject;
  readonly field: string;
  readonly message: string;
}

/** Of one Service and the slices that name it, whether it exists or not. */
export function findingsOf(
  service: ServiceObject | undefined,
  slices: readonly EndpointSliceObject[],
): readonly Finding[] {
  if (service === undefined) return slices.map(orphaned);
  if (isLeftAlone(service)) return [];
  const families = familiesOf(service);
  return [
    ...addressFindings(service, families),
    ...portFindings(service),
    ...slices.flatMap((slice) => sliceFindings(service, slice, families)),
    ...unservedPorts(service, slices, families),
  ];
}

/** What several Services claim, where an API server would have refused all but the first; one of them answers (S-19). */
export function sharedBy(services: readonly ServiceObject[]): readonly Finding[] {
  const first = new Map<string, ServiceObject>();
  const found: Finding[] = [];
  const claim = (service: ServiceObject, field: string, what: string): void => {
    const { meta } = first.get(what) ?? service;
    const message = `${what} is also Service ${meta.namespace}/${meta.name}'s: one of them answers`;
    if (first.has(what)) found.push({ object: service, field, message });
    else first.set(what, service);
  };
  for (const service of services.filter((one) => !isLeftAlone(one))) {
    for (const address of new Set(service.clusterIPs)) claim(service, 'spec.clusterIP', address);
    const nodePorts = service.ports.filter(({ nodePort }) => nodePort !== 0);
    for (const { nodePort, protocol } of nodePorts)
      claim(service, 'spec.ports', `NodePort ${nodePort}/${protocol}`);
    if (isChecked(service) && service.healthCheckNodePort !== 0)
      claim(service, 'spec.healthCheckNodePort', `port ${service.healthCheckNodePort} for health checks`);
  }
  return found;
}

/** Why nothing is forwarded for it; undefined where something is. */
export function whyNotForwarded(service: ServiceObject): string | undefined {
  const label = foreignLabelOf(service.meta);
  if (label !== undefined) return `its label ${label} leaves it to another proxy`;
  if (service.type === 'ExternalName') return 'type ExternalName is a matter of DNS alone';
  if (service.clusterIPs.includes('None')) return 'it is headless: clients dial its endpoints themselves';
  if (service.clusterIPs.length === 0) return 'it has no cluster address';
  return service.ports.length === 0 ? 'it has no ports' : undefined;
}

/** As they are meant to be: nothing is missing where nothing is to be forwarded. */
function isLeftAlone({ meta, type, clusterIPs }: ServiceObject): boolean {
  return foreignLabelOf(meta) !== undefined || type === 'ExternalName' || clusterIPs.includes('None');
}

/** By load balancers, at its healthCheckNodePort (S-13). */
function isChecked({ type, externalTrafficPolicy }: ServiceObject): boolean {
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
}

function orphaned(slice: EndpointSliceObject): Finding {
  const { meta, serviceName } = slice;
  const message =
    serviceName === ''
      ? `without the label ${serviceNameLabel} its endpoints are no Service's`
      : `there is no Service ${meta.namespace}/${serviceName}, which the label ${serviceNameLabel} names`;
  return { object: slice, field: 'metadata.labels', message };
}

/** In which it has a cluster address, and is served (S-9). */
function familiesOf({ clusterIPs, ipFamilies }: ServiceObject): ReadonlySet<Family> {
  const served = clusterIPs.map((text, index) => {
    const family = familyOf(text);
    return ipFamilies[index] === undefined || ipFamilies[index] === family ? family : undefined;
  });
  return new Set(served.filter((family) => family !== undefined));
}

function addressFindings(service: ServiceObject, families: ReadonlySet<Family>): readonly Finding[] {
  const { clusterIPs, ipFamilies, externalIPs, loadBalancerIPs, type } = service;
  const found: Finding[] = [];
  const note = (field: string, message: string): unknown => found.push({ object: service, field, message });
  if (clusterIPs.length === 0)
    note('spec.clusterIP', 'is missing: nothing assigns one here, and without it nothing is forwarded');
  for (const [index, text] of clusterIPs.entries()) {
    const [family, declared] = [familyOf(text), ipFamilies[index]];
    const earlier = clusterIPs.slice(0, index).some((other) => familyOf(other) === family);
    if (declared !== undefined && declared !== family)
      note(
        `spec.clusterIPs[${index}]`,
        `${text} is not IPv${declared}, which ipFamilies has there: it is not served`,
      );
    else if (earlier)
      note(`spec.clusterIPs[${index}]`, `${text} is the second of its family, and not served`);
  }
  const others = [
    ...externalIPs.map((text) => ['spec.externalIPs', text] as const),
    ...loadBalancerIPs.map((text) => ['status.loadBalancer.ingress', text] as const),
  ];
  for (const [field, text] of clusterIPs.length === 0 ? [] : others) {
    const family = familyOf(text);
    if (family !== undefined && !families.has(family))
      note(field, `${text} is not served: the Service has no cluster address of IPv${family}`);
  }
  if (type === 'LoadBalancer' && loadBalancerIPs.length === 0)
    note(
      'status.loadBalancer.ingress',
      'has no address: spec.loadBalancerIP is not read, and nothing assigns one here',
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
      note(`${field}.name`, `${nameOf(port)} is the name of an earlier port, which counts`);
    else if (earlier.some((other) => other.port === port.port && other.protocol === port.protocol))
      note(`${field}.port`, `${port.port}/${port.protocol} is another port's, too: one of them answers`);
    if (type === 'NodePort' && port.nodePort === 0)
      note(`${field}.nodePort`, 'is missing: nothing assigns one here, so there is none');
  }
  if (isChecked(service) && service.healthCheckNodePort === 0)
    note(
      'spec.healthCheckNodePort',
      'is missing: nothing assigns one here, so load balancers cannot ask for endpoints',
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
  if (label !== undefined) return [note('metadata.labels', `the label ${label} leaves it to another proxy`)];
  if (slice.addressType === 'FQDN')
    return [note('addressType', 'FQDN: names are not resolved, so it is passed over')];
  const family = familyOfSlice(slice);
  if (clusterIPs.length > 0 && !families.has(family)) {
    const name = `${meta.namespace}/${meta.name}`;
    return [note('addressType', `Service ${name} has no cluster address of IPv${family}: it is passed over`)];
  }
  if (slice.ports.length === 0)
    return [note('ports', 'has no port that could be used: its endpoints serve nothing')];
  return slice.ports.flatMap((port) => {
    if (ports.some((own) => isSamePort(own, port))) return [];
    const known = ports.map(nameOf).join(', ') || 'none';
    return [
      note(
        'ports',
        `${nameOf(port)} is no port of Service ${meta.namespace}/${meta.name}, which has ${known}`,
      ),
    ];
  });
}

/** Where slices are there and have other ports, one of them is told of already, and says which there are. */
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
