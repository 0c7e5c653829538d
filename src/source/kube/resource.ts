// The resources that are watched, with their paths and selectors.
import type { SourceKind } from '../objects.ts';
import { ownSelector } from '../parse/meta.ts';

export interface Resource {
  readonly kind: SourceKind;
  readonly path: string;
  /** Label and field selectors, by which the API server filters. */
  readonly selectors: Readonly<Record<string, string>>;
  /** Ask for PartialObjectMetadata: the server sends metadata only. */
  readonly metadataOnly?: boolean;
  /** The agent works without them, where RBAC does not allow the watch. */
  readonly optional?: boolean;
}

/** Services and slices for other proxies are filtered out (S-2); of the Nodes only this one is watched (S-1). */
export function resources(nodeName: string): readonly Resource[] {
  const selectors = { labelSelector: ownSelector };
  return [
    { kind: 'Service', path: '/api/v1/services', selectors },
    { kind: 'EndpointSlice', path: '/apis/discovery.k8s.io/v1/endpointslices', selectors },
    { kind: 'Node', path: '/api/v1/nodes', selectors: { fieldSelector: `metadata.name=${nodeName}` } },
  ];
}

/** Running pods of this node, and all namespaces. */
export function podResources(nodeName: string): readonly Resource[] {
  const fieldSelector = `spec.nodeName=${nodeName},status.phase!=Succeeded,status.phase!=Failed`;
  const common = { metadataOnly: true, optional: true };
  return [
    { kind: 'Namespace', path: '/api/v1/namespaces', selectors: {}, ...common },
    { kind: 'Pod', path: '/api/v1/pods', selectors: { fieldSelector }, ...common },
  ];
}

/** The Accept header. A server that does not know PartialObjectMetadata sends whole objects. */
export function acceptOf({ metadataOnly }: Resource, answer: 'list' | 'events'): string {
  const kind = answer === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  return metadataOnly === true
    ? `application/json;as=${kind};v=v1;g=meta.k8s.io,application/json`
    : 'application/json';
}

export function url(resource: Resource, query: Readonly<Record<string, string>>): string {
  return `${resource.path}?${new URLSearchParams({ ...resource.selectors, ...query }).toString()}`;
}
