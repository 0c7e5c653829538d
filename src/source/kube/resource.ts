// What is watched, and the addresses to ask at.
import type { SourceKind } from '../objects.ts';
import { ownSelector } from '../parse/meta.ts';

export interface Resource {
  readonly kind: SourceKind;
  readonly path: string;
  /** What the API server filters by, so that the rest is never sent. */
  readonly selectors: Readonly<Record<string, string>>;
}

/** Services and slices of others are filtered on both (S-2); of the nodes only our own is asked for (S-1). */
export function resources(nodeName: string): readonly Resource[] {
  const selectors = { labelSelector: ownSelector };
  return [
    { kind: 'Service', path: '/api/v1/services', selectors },
    { kind: 'EndpointSlice', path: '/apis/discovery.k8s.io/v1/endpointslices', selectors },
    { kind: 'Node', path: '/api/v1/nodes', selectors: { fieldSelector: `metadata.name=${nodeName}` } },
  ];
}

export function url(resource: Resource, query: Readonly<Record<string, string>>): string {
  return `${resource.path}?${new URLSearchParams({ ...resource.selectors, ...query }).toString()}`;
}
