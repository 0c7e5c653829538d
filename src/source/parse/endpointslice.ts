// A raw discovery.k8s.io/v1 EndpointSlice, narrowed, with the API's defaults applied.
import type { EndpointObject, EndpointPort, EndpointSliceObject } from '../objects.ts';
import { parseFamily } from '../../net/ip.ts';
import { addresses } from './address.ts';
import { parseMeta } from './meta.ts';
import {
  at,
  flag,
  integer,
  isAbsent,
  isMapping,
  items,
  oneOf,
  skip,
  reject,
  text,
  type Place,
} from './reader.ts';
import { maxPort, parseProtocol } from './service.ts';

/** The label alone decides which Service a slice belongs to, not its owner references (S-21). */
export const serviceNameLabel = 'kubernetes.io/service-name';
const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
/** RFC 3339. Date.parse() accepts other forms too. */
const timestamp = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const addressTypes = ['IPv4', 'IPv6', 'FQDN'] as const;

export function parseEndpointSlice(object: Place): EndpointSliceObject | undefined {
  const meta = parseMeta(object, 'default');
  if (meta === undefined) return undefined;
  const typePlace = at(object, 'addressType');
  if (isAbsent(typePlace)) return reject(typePlace, 'is missing');
  const addressType = oneOf(typePlace, addressTypes);
  if (addressType === undefined) return undefined;
  return {
    kind: 'EndpointSlice',
    meta,
    serviceName: meta.labels[serviceNameLabel] ?? '',
    addressType,
    endpoints: items(at(object, 'endpoints')).flatMap((place) => parseEndpoint(place, addressType)),
    ports: items(at(object, 'ports')).flatMap(parsePort),
  };
}

/**
 * An endpoint without an address is skipped (S-25). The defaults of conditions are those of a ready endpoint (S-26).
 */
function parseEndpoint(place: Place, type: EndpointSliceObject['addressType']): readonly EndpointObject[] {
  if (type === 'FQDN') return [];
  const list = at(place, 'addresses');
  const found = addresses(list);
  const [first] = found;
  if (first === undefined) {
    skip(list, 'has no address: the endpoint is skipped');
    return [];
  }
  if (`IPv${parseFamily(first) ?? ''}` !== type) {
    skip(list, `${JSON.stringify(first)} is not ${type}, the addressType: the endpoint is skipped`);
    return [];
  }
  if (found.length > 1) skip(list, 'has more than one address: the first is used');
  const conditions = at(place, 'conditions');
  return [
    {
      addresses: found,
      ready: flag(at(conditions, 'ready')) ?? true,
      serving: flag(at(conditions, 'serving')) ?? true,
      terminating: flag(at(conditions, 'terminating')) ?? false,
      nodeName: text(at(place, 'nodeName')),
      zoneHints: hintNames(at(place, 'hints', 'forZones')),
      nodeHints: hintNames(at(place, 'hints', 'forNodes')),
    },
  ];
}

/** The default name is "". A port without a number, or with 0, is skipped, as in kube-proxy (S-24). */
function parsePort(place: Place): readonly EndpointPort[] {
  const number = at(place, 'port');
  const port = integer(number, 0, maxPort);
  const protocol = parseProtocol(place);
  if ((isAbsent(number) && isMapping(place.value)) || port === 0)
    skip(number, 'is missing: a slice for all ports is not supported, so the port is skipped');
  else if (!isMapping(place.value)) skip(place, 'is no port');
  if (port === undefined || port === 0 || protocol === undefined) return [];
  const name = at(place, 'name');
  const known = text(name);
  return known === undefined && !isAbsent(name) ? [] : [{ name: known ?? '', port, protocol }];
}

function hintNames(place: Place): readonly string[] {
  return items(place).flatMap((hint) => text(at(hint, 'name')) ?? []);
}

/** Time of the pod change that led to this slice, in milliseconds since the epoch; undefined when not known (S-32). */
export function triggerTimeOf({ meta }: EndpointSliceObject): number | undefined {
  const text = meta.annotations[triggerTimeAnnotation];
  const time = text !== undefined && timestamp.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}
