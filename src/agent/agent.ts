// The agent: starts every room in the order in which they need each other, and stops them in the opposite one.
import { native } from '../../native/index.ts';
import { readObjects } from '../kernel/objectfile.ts';
import type { Config } from '../config/schema.ts';
import { trackSync } from '../health/sync.ts';
import { Attachments } from '../hooks/attach.ts';
import { openJiffies } from '../kernel/jiffies.ts';
import { probeFeatures, requireFeatures, type Features } from '../kernel/features.ts';
import { growDatapath } from '../hooks/grow.ts';
import { loadDatapath, pinMissing, type Datapath, type LoadOptions } from '../hooks/load.ts';
import type { Loss } from '../hooks/takeover.ts';
import { lockFolder, type FolderLock } from '../kernel/lock.ts';
import { SocketReaper } from '../kernel/socketreaper.ts';
import { SocketHooks } from '../hooks/cgroup.ts';
import { DeviceWatch } from '../hooks/watch.ts';
import { recordEvents } from './kubeevents.ts';
import { Exempting } from './exemptions.ts';
import type { Host } from '../host/host.ts';
import { boundToNode, createHost, followNode } from './host.ts';
import { exitOnFault, Lifecycle, terminationSignal } from './lifecycle.ts';
import type { Growth } from '../maps/growth.ts';
import { Dataplane } from '../maps/plane.ts';
import { clusterService, updateSeed } from '../maps/seed.ts';
import { firstSizes, mapSizes, optionOf, type Limits } from '../maps/sizes.ts';
import { buildServicePorts } from '../model/build.ts';
import { healthChecksOf, type HealthCheck } from '../model/health.ts';
import type { NodeIdentity, ServicePort } from '../model/types.ts';
import { publish } from '../observe/channels.ts';
import { startLogging } from '../observe/log.ts';
import { keepRecentErrors } from '../observe/recent.ts';
import { Programming } from './programmer.ts';
import { watchConfig, type AgentOptions } from '../config/watch.ts';
import { serve, serveHealthChecks } from './servers.ts';
import type { Source } from '../source/objects.ts';
import { createStore, type Store } from '../source/store.ts';
import { parsePortRange } from '../net/hostport.ts';
import { version } from '../version.ts';

const now = (): Date => new Date();

/** Runs until it is told to stop. What it has put into the kernel stays there and goes on forwarding (S-104). */
export async function runAgent(
  config: Config,
  { notes, file }: AgentOptions,
): Promise<'stopped' | 'restart'> {
  const lifecycle = new Lifecycle();
  lifecycle.onStop(startLogging(config.logLevel, config.nodeName));
  for (const detail of notes) publish('config.ignored', { detail });
  exitOnFault();
  const ended = terminationSignal(lifecycle);
  try {
    await start(config, lifecycle);
    const changed = new Promise<'restart'>((resolve) => {
      if (file !== undefined) lifecycle.onStop(watchConfig(config, file, () => resolve('restart')));
    });
    const reason = await Promise.race([ended, changed]);
    publish('agent.stopping', { signal: reason === 'restart' ? `${file?.path ?? ''} has changed` : reason });
    return reason === 'restart' ? reason : 'stopped';
  } finally {
    await lifecycle.stop();
  }
}

async function start(config: Config, lifecycle: Lifecycle): Promise<void> {
  const source = await createSource(config);
  publish('agent.starting', { version, source: source.description });
  const errors = keepRecentErrors(now);
  lifecycle.onStop(() => errors.stop());
  const features = await probeFeatures(config);
  requireFeatures(features);
  await source.check();
  const options = loadOptionsOf(config, features);
  const datapath = { lock: await lockBpffs(config, lifecycle), ...(await load(features, options)) };
  const store: Store = createStore({
    nodeName: config.nodeName,
    onDirty: (services) => programming.update(services),
    onNode: () => followNode(host, store, config.nodeName),
    onPods: () => hooks.exempting.refresh(),
  });
  const hooks = createHooks(config, features, datapath, store, lifecycle);
  lifecycle.onStop(recordEvents({ nodeName: config.nodeName, source, store }));
  const identity = (): NodeIdentity => identityOf(config, store, host);
  const plane = await createPlane(config, features, growing(datapath, options), store, identity, lifecycle);
  const host = createHost({ config, store, plane });
  const watch = watchDevices(datapath, hooks, host);
  const health = trackSync(now);
  const checkOf = (service: string): HealthCheck | undefined =>
    healthChecksOf(store.service(service), store.slices(service), identity());
  const { checks, onWritten } = serveHealthChecks(checkOf, health, lifecycle);
  checks.listenAt(host.nodePortAddresses);
  host.onChange((renamed) => {
    checks.listenAt(host.nodePortAddresses);
    if (renamed) store.touch(boundToNode(store));
  });
  const prepare = (): void => seedHash(config, datapath, store);
  const programming = new Programming({ plane, health, prepare, attach: () => watch.start(), onWritten });
  lifecycle.onStop(() => watch.stop());
  lifecycle.onStop(() => programming.stop());
  // Services of an earlier agent are being forwarded: its programs are replaced at once. Else the tables are filled first.
  if (datapath.adopted) programming.attachNow();
  await serve({ config, features, store, source, plane, host, ...hooks, programming, errors }, lifecycle);
  await source.start(programming.sink(store, source.description));
  lifecycle.onStop(() => source.stop());
}

/** Two agents on one folder would hand out the same ids. Held until everything else has been stopped. */
async function lockBpffs({ bpffs }: Config, lifecycle: Lifecycle): Promise<FolderLock> {
  const lock = await lockFolder(bpffs, (holder) => publish('agent.waiting', { folder: bpffs, holder }));
  lifecycle.onStop(() => lock.release());
  return lock;
}

/** The API server's client is big, and needed only with an API server. */
async function createSource(config: Config): Promise<Source> {
  if (config.manifests !== undefined) {
    const { ManifestSource } = await import('../source/manifests/source.ts');
    return new ManifestSource(config.manifests);
  }
  const { KubeSource } = await import('../source/kube/source.ts');
  // Only socket hooks ask for whose processes they are.
  const pods = config.socketHooks !== 'off';
  return new KubeSource({ kubeconfig: config.kubeconfig, nodeName: config.nodeName, pods });
}

function lifetimesOf(config: Config) {
  return {
    tcpSynSec: config.tcpTimeoutSyn,
    tcpIdleSec: config.tcpTimeoutEstablished,
    tcpHalfClosedSec: config.tcpTimeoutCloseWait,
    tcpClosedSec: config.tcpTimeoutClosed,
    udpNewSec: config.udpTimeout,
    udpIdleSec: config.udpTimeoutStream,
  };
}

const unserved = { pass: 0, refuse: 1, drop: 2 } as const;

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

async function load({ kernel, list }: Features, options: LoadOptions): Promise<Datapath> {
  const datapath = await loadDatapath(options);
  publish('datapath.loaded', { adopted: datapath.adopted, kernel });
  for (const { name, detail, supported } of list) {
    if (!supported) publish('datapath.fallback', { feature: name, detail });
  }
  tellReplaced(datapath);
  return datapath;
}

interface Growing {
  readonly datapath: Datapath;
  readonly growth: Growth;
}

function growing(datapath: Datapath, options: ReturnType<typeof loadOptionsOf>): Growing {
  const { bounds } = options;
  const grow: Growth['grow'] = async (sizes, stopping) =>
    tellLosses(await growDatapath(datapath, options, sizes, stopping));
  return { datapath, growth: { bounds, grow } };
}

function tellReplaced({ replaced, oversized, losses }: Datapath): void {
  for (const { map, error } of oversized)
    publish('datapath.oversized', { map, option: optionOf[map] ?? '', error });
  if (replaced.length > 0) publish('datapath.replaced', { maps: replaced });
  tellLosses(losses);
}

function tellLosses(losses: readonly Loss[]): void {
  for (const { map, error } of losses) publish('datapath.lost', { map, error });
}

async function createPlane(
  config: Config,
  { hz }: Features,
  { datapath, growth }: Growing,
  store: Store,
  identity: () => NodeIdentity,
  lifecycle: Lifecycle,
): Promise<Dataplane> {
  const jiffies = openJiffies(native());
  lifecycle.onStop(() => jiffies.close());
  const plane = await Dataplane.open({
    ...{ maps: datapath.maps, growth },
    clock: { hz, now: () => jiffies.now() },
    lifetimes: lifetimesOf(config),
    portsOf: (service) => portsOf(service, store, identity()),
    onStale: () => reaper.check(),
  });
  const { staleSockets } = plane;
  const reaper = new SocketReaper({
    find: (stopped) => staleSockets.find(stopped),
    includes: (socket) => staleSockets.includes(socket),
  });
  plane.start();
  lifecycle.onStop(() => plane.stop());
  reaper.start();
  lifecycle.onStop(() => reaper.stop());
  return plane;
}

/** Before services are programmed, and again should the cluster's own Service be another one. */
function seedHash({ hashSeed, manifests }: Config, { maps }: Datapath, store: Store): void {
  const uid = store.service(clusterService)?.meta.uid;
  const known = { chosen: hashSeed, uid, expected: manifests === undefined };
  updateSeed(maps.slb_seed, known);
}

function identityOf({ nodeName }: Config, store: Store, { nodeAddresses }: Host): NodeIdentity {
  return { name: nodeName, zone: store.zone(), addresses: nodeAddresses };
}

function portsOf(service: string, store: Store, node: NodeIdentity): readonly ServicePort[] {
  const ports = buildServicePorts(store.service(service), store.slices(service), node);
  if (ports.length === 0) publish('service.removed', { service });
  else publish('service.changed', { service, ports: ports.length });
  return ports;
}

interface Hooks {
  readonly attachments: Attachments;
  readonly sockets: SocketHooks;
  readonly exempting: Exempting;
}

/** Throws when hooks that were asked for cannot be had. Attaches nothing. */
function createHooks(
  config: Config,
  features: Features,
  datapath: Datapath,
  store: Store,
  lifecycle: Lifecycle,
): Hooks {
  const sockets = createSocketHooks(config, features, datapath);
  sockets.check();
  const { socketHooksSkip: skip } = config;
  const map = datapath.maps.slb_exempt;
  const exempting = new Exempting({ cgroup: features.cgroup, skip, map, store });
  lifecycle.onStop(() => exempting.stop());
  return { attachments: createAttachments(config, features, datapath), sockets, exempting };
}

function createAttachments(
  { bpffs, devices, xdp, tcxOrder }: Config,
  { tcx }: Features,
  { programs }: Datapath,
): Attachments {
  return new Attachments({ bpffs, programs, patterns: devices, xdp, tc: tcx ? 'tcx' : 'clsact', tcxOrder });
}

function createSocketHooks(
  { bpffs, socketHooks: choice }: Config,
  { cgroup }: Features,
  { sockets: programs, maps }: Datapath,
): SocketHooks {
  const inUse = (): boolean => maps.slb_sockets.readBatch(undefined, 1).count > 0;
  return new SocketHooks({ bpffs, cgroup, programs, choice, inUse });
}

function watchDevices(
  datapath: Datapath & { readonly lock: FolderLock },
  { attachments, sockets, exempting }: Hooks,
  host: Host,
): DeviceWatch {
  return new DeviceWatch({
    note: (change) => host.note(change),
    dueIn: () => host.dueIn(),
    // First what the programs read of a device, then the programs.
    update: () => attachments.update(host.refresh()),
    reconcile: () => {
      datapath.lock.renew();
      tellLosses(datapath.takeOver.run(datapath.folder)); // the first time
      pinMissing(datapath);
      host.forget();
      attachments.reconcile(host.refresh());
      // First the cgroups to leave alone, then the programs that do not.
      exempting.refresh();
      sockets.reconcile();
      void exempting.search();
    },
  });
}
