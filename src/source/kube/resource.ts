// What is watched, and the addresses to ask at.
import type { SourceKind } from '../objects.ts';
import { ownSelector } from '../parse/meta.ts';

export interface Resource {
  readonly kind: SourceKind;
  readonly path: string;
  /** What the API server filters by, so that the rest is never sent. */
  readonly selectors: Readonly<Record<string, string>>;
  /** Of its objects the metadata are enough: that is all the server then reads, sends and lets us parse. */
  readonly metadataOnly?: boolean;
  /** Where they cannot be had, all goes on without them. */
  readonly optional?: boolean;
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

/** Of the pods those of this node that have processes, and what their namespaces say of them. */
export function podResources(nodeName: string): readonly Resource[] {
  const fieldSelector = `spec.nodeName=${nodeName},status.phase!=Succeeded,status.phase!=Failed`;
  const common = { metadataOnly: true, optional: true };
  return [
    { kind: 'Namespace', path: '/api/v1/namespaces', selectors: {}, ...common },
    { kind: 'Pod', path: '/api/v1/pods', selectors: { fieldSelector }, ...common },
  ];
}

/** What to ask for besides the address. A server that does not know of metadata alone sends objects as they are. */
export function acceptOf({ metadataOnly }: Resource, answer: 'list' | 'events'): string {
  const kind = answer === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  return metadataOnly === true
    ? `application/json;as=${kind};v=v1;g=meta.k8s.io,application/json`
    : 'application/json';
}

export function url(resource: Resource, query: Readonly<Record<string, string>>): string {
  return `${resource.path}?${new URLSearchParams({ ...resource.selectors, ...query }).toString()}`;
}
