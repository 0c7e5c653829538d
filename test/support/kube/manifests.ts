// Objects as an operator would write them, and a folder of them: written whole and renamed into place, so that no
// half file is seen.
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { ownFolder } from '../run/owner.ts';
import { familyOf } from '../../../src/net/ip.ts';

export interface PortText {
  readonly name: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
}

export interface ServicePortText extends PortText {
  readonly nodePort?: number;
}

export type Policy = 'Cluster' | 'Local';

export interface Ingress {
  readonly ip: string;
  readonly ipMode?: 'VIP' | 'Proxy';
}

export interface ServiceText {
  readonly name: string;
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** None, one or two addresses, or the word None; their families follow from the text. */
  readonly clusterIPs: readonly string[];
  readonly ports: readonly ServicePortText[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly externalIPs?: readonly string[];
  /** What a cloud's controller would have written into the status. */
  readonly ingress?: readonly Ingress[];
  readonly sourceRanges?: readonly string[];
  readonly internalTrafficPolicy?: Policy;
  readonly externalTrafficPolicy?: Policy;
  readonly healthCheckNodePort?: number;
  /** Seconds that a client stays with its backend. */
  readonly affinity?: number;
}

export interface SliceEndpoint {
  readonly address: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly nodeName?: string;
  readonly hints?: object;
}

export interface SliceText {
  readonly service: string;
  readonly endpoints: readonly SliceEndpoint[];
  readonly ports: readonly PortText[];
}

const familyName = (address: string) => `IPv${familyOf(address)}` as const;

/** Only the entries that have a value: an operator writes no empty fields either. */
function given<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function affinityFields(seconds: number | undefined): object {
  if (seconds === undefined) return {};
  return {
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: seconds } },
  };
}

export function serviceDocument(service: ServiceText): object {
  const { name, type = 'ClusterIP', clusterIPs, ports, labels = {}, annotations = {} } = service;
  const families = clusterIPs.filter((address) => address !== 'None').map(familyName);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'lab', labels, annotations },
    spec: {
      type,
      ...(clusterIPs.length === 0 ? {} : { clusterIP: clusterIPs[0], clusterIPs, ipFamilies: families }),
      ...(families.length === 2 ? { ipFamilyPolicy: 'RequireDualStack' } : {}),
      ports,
      ...given({
        externalIPs: service.externalIPs,
        loadBalancerSourceRanges: service.sourceRanges,
        internalTrafficPolicy: service.internalTrafficPolicy,
        externalTrafficPolicy: service.externalTrafficPolicy,
        healthCheckNodePort: service.healthCheckNodePort,
      }),
      ...affinityFields(service.affinity),
    },
    ...(service.ingress === undefined ? {} : { status: { loadBalancer: { ingress: service.ingress } } }),
  };
}

function endpointDocument(endpoint: SliceEndpoint): object {
  const { address, ready = true, serving = true, terminating = false, nodeName, hints } = endpoint;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...given({ nodeName, hints }),
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
      .filter(({ address }) => familyName(address) === addressType)
      .map(endpointDocument),
  }));
}

export interface NodeText {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
}

export function nodeDocument({ name, addresses, labels = {} }: NodeText): object {
  const status = { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) };
  return { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, status };
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
