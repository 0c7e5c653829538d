// A folder of manifests as an operator would keep it: written whole and renamed into place, so that no half file is seen.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ownFolder } from './owner.ts';

export interface ServiceText {
  readonly name: string;
  /** One or two addresses; their families follow from the text. */
  readonly clusterIPs: readonly string[];
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: 'TCP' | 'UDP';
    readonly port: number;
  }[];
  readonly labels?: Readonly<Record<string, string>>;
}

export interface SliceEndpoint {
  readonly address: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export interface SliceText {
  readonly service: string;
  readonly endpoints: readonly SliceEndpoint[];
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: 'TCP' | 'UDP';
    readonly port: number;
  }[];
}

const familyOf = (address: string): 'IPv4' | 'IPv6' => (address.includes(':') ? 'IPv6' : 'IPv4');

export function serviceDocument(service: ServiceText): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: service.name, namespace: 'lab', labels: service.labels ?? {} },
    spec: {
      type: 'ClusterIP',
      clusterIP: service.clusterIPs[0],
      clusterIPs: service.clusterIPs,
      ipFamilies: service.clusterIPs.filter((address) => address !== 'None').map(familyOf),
      ports: service.ports,
    },
  };
}

/** One slice a family (S-22). */
export function sliceDocuments(slice: SliceText): object[] {
  return (['IPv4', 'IPv6'] as const).map((addressType) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${slice.service}-${addressType.toLowerCase()}`,
      namespace: 'lab',
      labels: { 'kubernetes.io/service-name': slice.service },
    },
    addressType,
    ports: slice.ports,
    endpoints: slice.endpoints
      .filter(({ address }) => familyOf(address) === addressType)
      .map(({ address, ready = true, serving = true, terminating = false }) => ({
        addresses: [address],
        conditions: { ready, serving, terminating },
      })),
  }));
}

export class ManifestFolder {
  readonly path = ownFolder('manifests');

  put(file: string, documents: readonly object[]): void {
    this.putText(file, documents.map((document) => `---\n${stringify(document)}`).join(''));
  }

  putText(file: string, text: string): void {
    const unfinished = join(this.path, `.${file}.new`);
    writeFileSync(unfinished, text);
    renameSync(unfinished, join(this.path, file));
  }

  remove(file: string): void {
    rmSync(join(this.path, file));
  }
}
