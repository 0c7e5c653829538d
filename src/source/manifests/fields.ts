// The fields of the kinds that are read, so that a misspelt one is reported rather than taken for missing. `metadata`
// and `status` are not checked: many controllers write them.
import type { SourceKind, SourceObject } from '../objects.ts';
import { isMapping, type FieldProblem, type Path } from '../parse/reader.ts';

/** The field names of a mapping, or of each mapping of a list. Fields without an entry in `below` may hold anything. */
interface Shape {
  readonly names: string;
  readonly below?: Readonly<Record<string, Shape>>;
}

const shapes: Readonly<Partial<Record<SourceKind, Shape>>> = {
  Service: {
    names: 'apiVersion kind metadata spec status',
    below: {
      spec: {
        names:
          'ports selector clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP loadBalancerSourceRanges ' +
          'externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses sessionAffinityConfig ipFamilies ' +
          'ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution',
        below: {
          ports: { names: 'name protocol appProtocol port targetPort nodePort' },
          sessionAffinityConfig: { names: 'clientIP', below: { clientIP: { names: 'timeoutSeconds' } } },
        },
      },
    },
  },
  EndpointSlice: {
    names: 'apiVersion kind metadata addressType endpoints ports',
    below: {
      endpoints: {
        names: 'addresses conditions hostname targetRef deprecatedTopology nodeName zone hints',
        below: {
          conditions: { names: 'ready serving terminating' },
          hints: {
            names: 'forZones forNodes',
            below: { forZones: { names: 'name' }, forNodes: { names: 'name' } },
          },
        },
      },
      ports: { names: 'name protocol port appProtocol' },
    },
  },
};

/** Wider than what an API server accepts, but without slashes and control characters: names are parts of keys. */
const validName = /^[-._a-z0-9]+$/i;

/** Problems with the name and namespace of an object. */
export function namesOf(object: SourceObject | undefined): readonly FieldProblem[] {
  if (object === undefined) return [];
  const { name, namespace } = object.meta;
  return Object.entries({ name, namespace }).flatMap(([field, text]) => {
    if (text === '' || validName.test(text)) return [];
    const message = `must be letters, digits, "-" and ".", not ${JSON.stringify(text)}`;
    return [{ path: ['metadata', field], message }];
  });
}

export function unknownFields(kind: SourceKind, raw: unknown): readonly FieldProblem[] {
  const shape = shapes[kind];
  return shape === undefined ? [] : search(shape, raw, []);
}

function search(shape: Shape, value: unknown, path: Path): readonly FieldProblem[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => search(shape, item, [...path, index]));
  if (!isMapping(value)) return [];
  const known = shape.names.split(' ');
  return Object.entries(value).flatMap(([name, inner]) => {
    const message = 'is an unknown field: it is skipped';
    if (!known.includes(name)) return [{ path: [...path, name], message, skipped: true as const }];
    const below = shape.below?.[name];
    return below === undefined ? [] : search(below, inner, [...path, name]);
  });
}
