// The agent: starts every room in the order in which they need each other, and stops them in the opposite one.
import { native, type NetAddress } from '../native/index.ts';
import { buildApi, listenApi } from './api/server.ts';
import { readObject } from './assets.ts';
import { defaultPortOf, type Config, type ConfigKey } from './config.ts';
import { isNodeEligible, liveAnswers } from './health/live.ts';
import { metricsAnswers } from './health/metrics.ts';
import { HealthServer, type Answers } from './health/server.ts';
import { trackSync } from './health/sync.ts';
import { Attachments } from './hooks/attach.ts';
import { openJiffies } from './hooks/clock.ts';
import { probeFeatures, requireFeatures, type Features } from './hooks/features.ts';
import { loadDatapath, pinMissing, type Datapath } from './hooks/load.ts';
import { DeviceWatch } from './hooks/watch.ts';
import { exitOnFault, Lifecycle, terminationSignal } from './lifecycle.ts';
import { Dataplane } from './maps/plane.ts';
import { mapSizes } from './maps/sizes.ts';
import { buildServicePorts } from './model/build.ts';
import type { ServicePort } from './model/types.ts';
import { publish } from './observe/channels.ts';
import { startLogging } from './observe/log.ts';
import { startMetrics } from './observe/metrics.ts';
import { keepRecentErrors } from './observe/recent.ts';
import { Programming } from './programming.ts';
import type { Source } from './source/objects.ts';
import { createStore, type Store } from './source/store.ts';
import { parseHostPort } from './units.ts';
import { version } from './version.ts';
import { createView, metricsOf, type Parts } from './view.ts';

const now = (): Date => new Date();

/** Runs until it is told to stop. What it has put into the kernel stays there and goes on forwarding (S-104). */
export async function runAgent(config: Config): Promise<void> {
  const lifecycle = new Lifecycle();
  lifecycle.onStop(startLogging(config.logLevel, config.nodeName));
  exitOnFault();
  const ended = terminationSignal(lifecycle);
  try {
    await start(config, lifecycle);
    publish('agent.stopping', { signal: await ended });
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
  const datapath = load(config, features);
  const attachments = createAttachments(config, features, datapath);
  const store: Store = createStore({
    nodeName: config.nodeName,
    onDirty: (services) => programming.update(services),
  });
  const plane = await createPlane(config, features, datapath, store, lifecycle);
  const watch = watchDevices(config, datapath, attachments);
  const programming = new Programming({ plane, health: trackSync(now), attach: () => watch.start() });
  lifecycle.onStop(() => {
    programming.stop();
    watch.stop();
  });
  // Services of an earlier agent are being forwarded: its programs are replaced at once. Else nothing may be seen by a
  // packet before the tables are filled.
  if (datapath.adopted) programming.attachNow();
  const parts = { config, features, store, source, plane, attachments, programming, errors };
  await serve(parts, lifecycle);
  await source.start(programming.sink(store, source.description));
  lifecycle.onStop(() => source.stop());
}

/** The API server's client is big, and needed only with an API server. */
async function createSource(config: Config): Promise<Source> {
  if (config.manifests !== undefined) {
    const { ManifestSource } = await import('./source/manifests/source.ts');
    return new ManifestSource(config.manifests);
  }
  const { KubeSource } = await import('./source/kube/source.ts');
  return new KubeSource({ kubeconfig: config.kubeconfig, nodeName: config.nodeName });
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

function load(config: Config, { hz, kernel, list }: Features): Datapath {
  const datapath = loadDatapath({
    bpffs: config.bpffs,
    objects: { tc: readObject('tc'), xdp: readObject('xdp') },
    config: { hz, ...lifetimesOf(config) },
    sizes: mapSizes({
      services: config.maxServices,
      backends: config.maxBackends,
      flows: config.maxFlows,
      halfOpenFlows: config.maxHalfOpenFlows,
    }),
  });
  publish('datapath.loaded', { adopted: datapath.adopted, kernel });
  for (const { name, detail, supported } of list) {
    if (!supported) publish('datapath.fallback', { feature: name, detail });
  }
  for (const detail of datapath.warnings) publish('datapath.fallback', { feature: 'map size', detail });
  return datapath;
}

async function createPlane(
  config: Config,
  { hz }: Features,
  { maps }: Datapath,
  store: Store,
  lifecycle: Lifecycle,
): Promise<Dataplane> {
  const jiffies = openJiffies(native());
  lifecycle.onStop(() => jiffies.close());
  const plane = await Dataplane.open({
    maps,
    clock: { hz, now: () => jiffies.now() },
    lifetimes: lifetimesOf(config),
    portsOf: (service) => portsOf(service, store, config.nodeName),
  });
  plane.start();
  lifecycle.onStop(() => plane.stop());
  return plane;
}

function portsOf(service: string, store: Store, nodeName: string): readonly ServicePort[] {
  const node = { name: nodeName, zone: store.zone() };
  const ports = buildServicePorts(store.service(service), store.slices(service), node);
  if (ports.length === 0) publish('service.removed', { service });
  else publish('service.changed', { service, ports: ports.length });
  return ports;
}

function createAttachments(
  { bpffs, devices, xdp }: Config,
  { tcx }: Features,
  { programs }: Datapath,
): Attachments {
  return new Attachments({ bpffs, programs, patterns: devices, xdp, tc: tcx ? 'tcx' : 'clsact' });
}

function watchDevices({ bpffs }: Config, { maps }: Datapath, attachments: Attachments): DeviceWatch {
  return new DeviceWatch(() => {
    pinMissing(bpffs, maps);
    attachments.reconcile();
  });
}

interface AgentParts extends Parts {
  readonly config: Config;
  readonly store: Store;
  readonly programming: Programming;
}

/** Before the source starts: while it is being listed, /readyz says so. */
async function serve(parts: AgentParts, lifecycle: Lifecycle): Promise<void> {
  const { config, store, programming } = parts;
  const metrics = startMetrics(metricsOf(parts), { version, node: config.nodeName });
  lifecycle.onStop(() => metrics.stop());
  const view = createView(parts, nodeAddresses(config), () => metrics.text());
  const eligible = (): boolean => {
    const node = store.node();
    return node === undefined && config.manifests !== undefined ? true : isNodeEligible(node);
  };
  serveHealth(config, 'healthzBindAddress', liveAnswers(programming.health, eligible, now), lifecycle);
  serveHealth(
    config,
    'metricsBindAddress',
    metricsAnswers(() => metrics.text()),
    lifecycle,
  );
  const address = parseHostPort(config.apiAddress, defaultPortOf('apiAddress'));
  if (address === undefined) return;
  const api = await buildApi(view, version);
  lifecycle.onStop(() => api.close());
  publish('server.listening', { server: 'api', address: await listenApi(api, address) });
}

type HealthKey = Extract<ConfigKey, 'healthzBindAddress' | 'metricsBindAddress'>;

function serveHealth(config: Config, key: HealthKey, answers: Answers, lifecycle: Lifecycle): void {
  const address = parseHostPort(config[key], defaultPortOf(key));
  if (address === undefined) return; // checked before: empty, so switched off
  const server = new HealthServer(key.replace('BindAddress', ''), address, answers).start();
  lifecycle.onStop(() => server.stop());
}

const scopeUniverse = 0; // RT_SCOPE_UNIVERSE: not link-local, not loopback

function nodeAddresses({ nodeAddress }: Config): readonly string[] {
  if (nodeAddress.length > 0) return nodeAddress;
  const uplinks = new Set(native().defaultRouteDevices());
  const isOwn = ({ index, scope }: NetAddress): boolean => uplinks.has(index) && scope === scopeUniverse;
  return native()
    .addresses()
    .filter(isOwn)
    .map(({ address }) => address);
}
