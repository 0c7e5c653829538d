// Services to be measured, and many more beside them.
import type { Machine } from '../test/support/lab/lab.ts';
import { serviceDocument, sliceDocuments, type PortText } from '../test/support/kube/manifests.ts';
import type { Family } from './load.ts';

/**
 * The Service's servers are not those that are dialled by their own address: otherwise a client's port that is reused
 * would meet a connection in TIME_WAIT with time stamps of the other path.
 */
export const directPort = 7000;
export const servicePort = 7001;

const ports: readonly PortText[] = [
  { name: 'tcp', protocol: 'TCP', port: servicePort },
  { name: 'udp', protocol: 'UDP', port: servicePort },
];

/** The first addresses of the range are left alone: Kubernetes takes them for itself. */
export function serviceAddress(n: number, family: Family): string {
  const host = n + 256;
  return family === 4 ? `10.96.${String(host >> 8)}.${String(host & 255)}` : `fd00:96::${host.toString(16)}`;
}

/** Service number `n`, with the pod behind it. */
export function serviceObjects(n: number, { v4, v6 }: Machine): object[] {
  const name = `service-${String(n)}`;
  const clusterIPs = [serviceAddress(n, 4), serviceAddress(n, 6)];
  const endpoints = [{ address: v4 }, { address: v6 }];
  return [
    serviceDocument({ name, clusterIPs, ports }),
    ...sliceDocuments({ service: name, endpoints, ports }),
  ];
}
