// A raw discovery.k8s.io/v1 EndpointSlice, narrowed, with the API's defaults applied.
import type { EndpointObject, EndpointPort, EndpointSliceObject } from '../objects.ts';
import { addresses } from './address.ts';
import { parseMeta } from './meta.ts';
import { at, flag, integer, isAbsent, items, oneOf, reject, text, type Place } from './reader.ts';
import { maxPort, parseProtocol } from './service.ts';

/** Ownership is this label and nothing else (S-21). */
const serviceNameLabel = 'kubernetes.io/service-name';
const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';
/** RFC 3339: Date.parse takes much else. */
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
    endpoints: items(at(object, 'endpoints')).flatMap((place) =>
      parseEndpoint(place, addressType === 'FQDN'),
    ),
    ports: items(at(object, 'ports')).flatMap(parsePort),
  };
}

/** An endpoint without an address is skipped (S-25). Conditions that are not said mean a ready endpoint (S-26). */
function parseEndpoint(place: Place, fqdn: boolean): readonly EndpointObject[] {
  const found = fqdn ? [] : addresses(at(place, 'addresses'));
  if (found.length === 0) return [];
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

/** A port without a name field, without a number or with number 0 is skipped, as kube-proxy does (S-24). */
function parsePort(place: Place): readonly EndpointPort[] {
  const name = text(at(place, 'name'));
  const port = integer(at(place, 'port'), 0, maxPort);
  const protocol = parseProtocol(place);
  return name === undefined || port === undefined || port === 0 || protocol === undefined
    ? []
    : [{ name, port, protocol }];
}

function hintNames(place: Place): readonly string[] {
  return items(place).flatMap((hint) => text(at(hint, 'name')) ?? []);
}

/** When the pods changed of which this slice tells, in milliseconds since the epoch; undefined when it does not say (S-32). */
export function triggerTimeOf({ meta }: EndpointSliceObject): number | undefined {
  const text = meta.annotations[triggerTimeAnnotation];
  const time = text !== undefined && timestamp.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(time) ? undefined : time;
}
