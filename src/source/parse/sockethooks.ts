// The annotation, or label, sluice.dev/socket-hooks. On a Service: whether sockets that connect to it are translated.
// On a Pod or Namespace: whether the sockets of its processes are. "false" leaves them to the translation of packets.
import { at, reject, type Place } from './reader.ts';

const key = 'sluice.dev/socket-hooks';

/** undefined when there is no annotation, or an invalid one, which is noted as a problem. */
export function annotatedSocketHooks(object: Place): boolean | undefined {
  return parseValue(at(object, 'metadata', 'annotations', key));
}

/** The same for annotation or label; the annotation wins. Labels, since templates and policies can set them. */
export function markedSocketHooks(object: Place): boolean | undefined {
  return annotatedSocketHooks(object) ?? parseValue(at(object, 'metadata', 'labels', key));
}

function parseValue(place: Place): boolean | undefined {
  const { value } = place;
  if (typeof value !== 'string') return undefined; // other types are noted with the annotations or labels
  if (value === 'true' || value === 'false') return value === 'true';
  return reject(place, `must be "true" or "false", not ${JSON.stringify(value)}`);
}
