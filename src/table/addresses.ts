// Address rows: what the data path must know of an address whatever the port, such as whether it is a ClusterIP.
import { slbAddressFlags, slbFrontendKind } from '../abi/layout.gen.ts';
import type { HostAddress } from '../model/types.ts';

export const addressFlags = {
  service: slbAddressFlags.ADDR_SERVICE,
  cluster: slbAddressFlags.ADDR_CLUSTER,
  node: slbAddressFlags.ADDR_NODE,
  nodePort: slbAddressFlags.ADDR_NODE_PORT,
  loopback: slbAddressFlags.ADDR_LOOPBACK,
} as const;

const ofServices = addressFlags.service | addressFlags.cluster;

export interface Addresses {
  /** One frontend more or less at this address. */
  count(address: string, kind: number, step: 1 | -1): void;
  /** 0: no such address. */
  flagsOf(address: string): number;
  /**
   * A row found in the kernel: in force until endAdoption() for flags of Services, until setHost() for those of the
   * host.
   */
  adopt(address: string, flags: number): void;
  /** All addresses of this node; returns those whose flags have changed. */
  setHost(list: readonly HostAddress[]): readonly string[];
  /** All Services have been planned. */
  endAdoption(): void;
}

interface Counts {
  frontends: number;
  cluster: number; // of these, ClusterIPs
}

export function createAddresses(): Addresses {
  const counts = new Map<string, Counts>();
  const inherited = new Map<string, number>(); // flags that an earlier agent's Services gave
  let host = new Map<string, number>();
  return {
    count(address, kind, step) {
      const now = counts.get(address) ?? { frontends: 0, cluster: 0 };
      now.frontends += step;
      if (kind === slbFrontendKind.KIND_CLUSTER_IP) now.cluster += step;
      if (now.frontends > 0) counts.set(address, now);
      else counts.delete(address);
    },
    flagsOf(address) {
      const count = counts.get(address);
      const service = count === undefined ? 0 : addressFlags.service;
      const cluster = (count?.cluster ?? 0) > 0 ? addressFlags.cluster : 0;
      return service | cluster | (inherited.get(address) ?? 0) | (host.get(address) ?? 0);
    },
    adopt(address, flags) {
      if ((flags & ofServices) !== 0) inherited.set(address, flags & ofServices);
      if ((flags & ~ofServices) !== 0) host.set(address, flags & ~ofServices);
    },
    setHost(list) {
      const before = host;
      host = new Map(list.map((one) => [one.address, flagsOfHost(one)]));
      const all = new Set([...before.keys(), ...host.keys()]);
      return [...all].filter((address) => before.get(address) !== host.get(address));
    },
    endAdoption: () => inherited.clear(),
  };
}

function flagsOfHost({ nodePort, loopback }: HostAddress): number {
  return addressFlags.node | (nodePort ? addressFlags.nodePort : 0) | (loopback ? addressFlags.loopback : 0);
}
