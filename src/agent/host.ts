// This host: which of its addresses and devices the options select, and the sysctls that forwarding needs.
import type { Config } from '../config/schema.ts';
import { prepareConntrack } from '../kernel/conntrack.ts';
import { prepareLoopback } from '../kernel/sysctls.ts';
import { Host, type HostOptions } from '../host/host.ts';
import type { Detection } from '../host/roles.ts';
import { publish } from '../observe/channels.ts';
import type { Store } from '../source/store.ts';

/** Sets the sysctls that forwarding needs. The host is not looked at before the first refresh(). */
export function createHost(config: Config, store: Pick<Store, 'node'>): Host {
  for (const error of prepareLoopback(config.bpffs)) {
    publish('datapath.fallback', { feature: 'loopback', detail: error.message });
  }
  const timeouts = {
    tcpEstablishedSec: config.tcpTimeoutEstablished,
    tcpCloseWaitSec: config.tcpTimeoutCloseWait,
  };
  for (const error of prepareConntrack(timeouts)) {
    publish('datapath.fallback', { feature: 'conntrack time-outs', detail: error.message });
  }
  return new Host(hostOptionsOf(config), { node: () => store.node() });
}

function hostOptionsOf(config: Config): HostOptions {
  return {
    uplinks: config.uplinks,
    detection: detectionOf(config),
    nodeAddresses: config.nodeAddress,
    nodePorts: { addresses: config.nodeportAddresses, localhost: config.localhostNodeports },
  };
}

/** How pods are told from other hosts. config/load.ts has checked that the options of the mode are there. */
export function detectionOf(config: Config): Detection {
  const { detectLocalMode: mode } = config;
  switch (mode) {
    case 'ClusterCIDR':
      return { mode, ranges: config.clusterCidr };
    case 'BridgeInterface':
      return { mode, bridge: config.podBridgeInterface ?? '' };
    case 'InterfaceNamePrefix':
      return { mode, prefix: config.podInterfaceNamePrefix ?? '' };
    default:
      return { mode };
  }
}

/** The Node object has changed, was created or deleted (S-108). Without it, addresses are those found on the host. */
export function followNode(host: Host, store: Store, nodeName: string): void {
  if (store.node() === undefined)
    publish('host.unexpected', {
      detail: `the Node object ${nodeName} is gone: addresses are those of this host`,
    });
  host.refreshOrTell();
}

/** namespace/name of the Services whose rows depend on the addresses of this node: those with source ranges (S-61). */
export function boundToNode(store: Store): readonly string[] {
  return store.serviceKeys().filter((key) => (store.service(key)?.loadBalancerSourceRanges.length ?? 0) > 0);
}
