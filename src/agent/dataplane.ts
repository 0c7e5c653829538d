// The tables of Services in the kernel, and the end of sockets whose backend has gone.
import { native } from '../../native/index.ts';
import type { Config } from '../config/schema.ts';
import type { Datapath } from '../hooks/load.ts';
import type { Host } from '../host/host.ts';
import type { Features } from '../kernel/features.ts';
import { openJiffies } from '../kernel/jiffies.ts';
import { SocketReaper } from '../kernel/socketreaper.ts';
import { Dataplane } from '../maps/plane.ts';
import { clusterService, updateSeed } from '../maps/seed.ts';
import { buildServicePorts } from '../model/build.ts';
import type { NodeIdentity, ServicePort } from '../model/types.ts';
import { publish } from '../observe/channels.ts';
import type { Store } from '../source/store.ts';
import { lifetimesOf, type OpenedDatapath } from './datapath.ts';
import type { Lifecycle } from './lifecycle.ts';

export interface PlaneDependencies extends OpenedDatapath {
  readonly config: Config;
  readonly features: Pick<Features, 'hz'>;
  readonly store: Store;
  readonly identity: () => NodeIdentity;
}

/** Reads the rows of an earlier agent; writes none before it is told of Services or of the host. */
export async function createPlane(
  { config, features, datapath, growth, store, identity }: PlaneDependencies,
  lifecycle: Lifecycle,
): Promise<Dataplane> {
  const jiffies = openJiffies(native());
  lifecycle.onStop(() => jiffies.close());
  const plane = await Dataplane.open({
    maps: datapath.maps,
    growth,
    clock: { hz: features.hz, now: () => jiffies.now() },
    lifetimes: lifetimesOf(config),
    portsOf: (service) => portsOf(service, store, identity()),
  });
  plane.start();
  lifecycle.onStop(() => plane.stop());
  const { staleSockets } = plane;
  const reaper = new SocketReaper({
    find: (stopped) => staleSockets.find(stopped),
    includes: (socket) => staleSockets.includes(socket),
  });
  plane.onStale(() => reaper.check());
  reaper.start();
  lifecycle.onStop(() => reaper.stop());
  return plane;
}

/**
 * The seed of the Maglev tables, written before the Services; again if the Service default/kubernetes is created anew.
 */
export function seedHash({ hashSeed, manifests }: Config, { maps }: Datapath, store: Store): void {
  const uid = store.service(clusterService)?.meta.uid;
  const known = { chosen: hashSeed, uid, expected: manifests === undefined };
  updateSeed(maps.slb_seed, known);
}

/** This node, as Services with a local traffic policy or topology hints see it. */
export function identityOf({ nodeName }: Config, store: Store, { nodeAddresses }: Host): NodeIdentity {
  return { name: nodeName, zone: store.zone(), addresses: nodeAddresses };
}

function portsOf(service: string, store: Store, node: NodeIdentity): readonly ServicePort[] {
  const ports = buildServicePorts(store.service(service), store.slices(service), node);
  if (ports.length === 0) publish('service.removed', { service });
  else publish('service.changed', { service, ports: ports.length });
  return ports;
}
