// The data path of this node: what the options say to the programs and maps, loading them, and replacing what an
// earlier agent has pinned.
import { native } from '../../native/index.ts';
import type { Config } from '../config/schema.ts';
import { growDatapath } from '../hooks/grow.ts';
import { loadDatapath, type Datapath, type LoadOptions } from '../hooks/load.ts';
import type { Loss } from '../hooks/takeover.ts';
import type { Features } from '../kernel/features.ts';
import { readObjects } from '../kernel/objectfile.ts';
import { lockFolder, type FolderLock } from '../kernel/lock.ts';
import type { Growth } from '../maps/growth.ts';
import { firstSizes, mapSizes, optionOf, type Limits } from '../maps/sizes.ts';
import { parsePortRange } from '../net/hostport.ts';
import { publish } from '../observe/channels.ts';
import type { Lifecycle } from './lifecycle.ts';

/** The data path and the folder lock that lets only one agent write it. */
export interface OwnDatapath extends Datapath {
  readonly lock: FolderLock;
}

export interface OpenedDatapath {
  readonly datapath: OwnDatapath;
  /** Replaces maps of `datapath` by larger ones. */
  readonly growth: Growth;
}

/**
 * Waits for another agent of the folder to end, then loads the programs. Throws a SluiceError where the kernel refuses
 * them.
 */
export async function openDatapath(
  config: Config,
  features: Features,
  lifecycle: Lifecycle,
): Promise<OpenedDatapath> {
  const options = loadOptionsOf(config, features);
  const lock = await lockBpffs(config, lifecycle);
  const datapath = { lock, ...(await load(features, options)) };
  return { datapath, growth: growthOf(datapath, options) };
}

/**
 * Two agents on one folder would give the same ids to different Services. Held until all other components have stopped.
 */
async function lockBpffs({ bpffs }: Config, lifecycle: Lifecycle): Promise<FolderLock> {
  const lock = await lockFolder(bpffs, (holder) => publish('agent.waiting', { folder: bpffs, holder }));
  lifecycle.onStop(() => lock.release());
  return lock;
}

/** In seconds, by the names that the programs know. */
export function lifetimesOf(config: Config) {
  return {
    tcpSynSec: config.tcpTimeoutSyn,
    tcpIdleSec: config.tcpTimeoutEstablished,
    tcpHalfClosedSec: config.tcpTimeoutCloseWait,
    tcpClosedSec: config.tcpTimeoutClosed,
    udpNewSec: config.udpTimeout,
    udpIdleSec: config.udpTimeoutStream,
  };
}

/** As bpf/abi/config.h has them. */
const unserved = { pass: 0, reject: 1, drop: 2 } as const;

function masqueradingOf(config: Config) {
  const { masqueradeAll, masqueradeLocal, unservedPorts, detectLocalMode, snatPorts } = config;
  const { min = 1, max = 65_535 } = parsePortRange(snatPorts) ?? {};
  return {
    masqueradeAll: Number(masqueradeAll),
    keepLocal: Number(!masqueradeLocal),
    unservedPorts: unserved[unservedPorts],
    podRanges: Number(detectLocalMode === 'ClusterCIDR' || detectLocalMode === 'NodeCIDR'),
    snatPortMin: min,
    snatPortMax: max,
  };
}

function socketsOf({ socketHooks }: Config, { socketErrors }: Features) {
  return {
    netns: native().netnsCookie(),
    socketRefuse: Number(socketErrors),
    socketHooks: Number(socketHooks !== 'off'),
  };
}

function limitsOf(config: Config): Limits {
  return {
    services: config.maxServices,
    backends: config.maxBackends,
    flows: config.maxFlows,
    halfOpenFlows: config.maxHalfOpenFlows,
    sockets: config.maxSockets,
  };
}

function loadOptionsOf(config: Config, features: Features): LoadOptions & Pick<Growth, 'bounds'> {
  return {
    bpffs: config.bpffs,
    objects: readObjects(features),
    config: {
      ...{ hz: features.hz, ...lifetimesOf(config), ...masqueradingOf(config) },
      ...socketsOf(config, features),
    },
    sizes: firstSizes(limitsOf(config)),
    bounds: mapSizes(limitsOf(config)),
  };
}

/** Loads the programs, and reports what they have to do without. */
async function load({ kernel, list }: Features, options: LoadOptions): Promise<Datapath> {
  const datapath = await loadDatapath(options);
  publish('datapath.loaded', { adopted: datapath.adopted, kernel });
  for (const { name, detail, supported } of list) {
    if (!supported) publish('datapath.fallback', { feature: name, detail });
  }
  reportReplaced(datapath);
  return datapath;
}

function growthOf(datapath: Datapath, options: ReturnType<typeof loadOptionsOf>): Growth {
  const grow: Growth['grow'] = async (sizes, stopping) =>
    reportLosses(await growDatapath(datapath, options, sizes, stopping));
  return { bounds: options.bounds, grow };
}

function reportReplaced({ replaced, oversized, losses }: Datapath): void {
  for (const { map, error } of oversized)
    publish('datapath.oversized', { map, option: optionOf[map] ?? '', error });
  if (replaced.length > 0) publish('datapath.replaced', { maps: replaced });
  reportLosses(losses);
}

/** Rows that could not be moved to the maps of this agent. */
export function reportLosses(losses: readonly Loss[]): void {
  for (const { map, error } of losses) publish('datapath.lost', { map, error });
}
