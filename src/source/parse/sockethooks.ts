// Whether the sockets of an object's clients or processes may be pointed at backends, as the object itself says.
import { at, reject, type Place } from './reader.ts';

const mark = 'sluice.dev/socket-hooks';

/** Undefined when the annotation is not there, or says neither. */
export function annotatedSocketHooks(object: Place): boolean | undefined {
  return parseMark(at(object, 'metadata', 'annotations', mark));
}

/** The same of annotation or label: labels are what templates and policies can set. The annotation wins. */
export function markedSocketHooks(object: Place): boolean | undefined {
  return annotatedSocketHooks(object) ?? parseMark(at(object, 'metadata', 'labels', mark));
}

function parseMark(place: Place): boolean | undefined {
  const { value } = place;
  if (typeof value !== 'string') return undefined; // whatever else it is, the annotations or labels say so
  if (value === 'true' || value === 'false') return value === 'true';
  return reject(place, `must be "true" or "false", not ${JSON.stringify(value)}`);
}
