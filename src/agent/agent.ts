// The agent: starts its components in the order in which they need each other, and stops them in the opposite one.
import type { Config } from '../config/schema.ts';
import { watchConfig, type AgentOptions } from '../config/watch.ts';
import { trackSync } from '../health/sync.ts';
import type { Host } from '../host/host.ts';
import { probeFeatures, requireFeatures } from '../kernel/features.ts';
import type { Dataplane } from '../maps/plane.ts';
import { healthChecksOf, type HealthCheck } from '../model/health.ts';
import type { NodeIdentity } from '../model/types.ts';
import { publish } from '../observe/channels.ts';
import { startLogging } from '../observe/log.ts';
import { keepRecentErrors } from '../observe/recent.ts';
import type { Source } from '../source/objects.ts';
import { createStore } from '../source/store.ts';
import { version } from '../version.ts';
import { openDatapath } from './datapath.ts';
import { createPlane, identityOf, seedHash } from './dataplane.ts';
import { createHooks, watchDevices } from './hooks.ts';
import { boundToNode, createHost, followNode } from './host.ts';
import { recordEvents } from './kubeevents.ts';
import { exitOnFault, Lifecycle, terminationSignal } from './lifecycle.ts';
import { Programmer } from './programmer.ts';
import { serve, serveHealthChecks } from './servers.ts';

const now = (): Date => new Date();

/**
 * Runs until SIGTERM or SIGINT ('stopped'), or until the configuration file has changed ('restart'). Programs and maps
 * stay in the kernel and go on forwarding (S-104). Throws the SluiceError that keeps the agent from starting.
 */
export async function runAgent(
  config: Config,
  { notes, deprecated, file }: AgentOptions,
): Promise<'stopped' | 'restart'> {
  const lifecycle = new Lifecycle();
  lifecycle.onStop(startLogging(config.logLevel, config.nodeName));
  for (const detail of notes) publish('config.ignored', { detail });
  for (const detail of deprecated) publish('config.deprecated', { detail });
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
  const { datapath, growth } = await openDatapath(config, features, lifecycle);
  const store = createStore({ nodeName: config.nodeName });
  const hooks = createHooks(config, features, datapath, store, lifecycle);
  lifecycle.onStop(recordEvents({ nodeName: config.nodeName, source, store }));
  const host = createHost(config, store);
  const identity = (): NodeIdentity => identityOf(config, store, host);
  const plane = await createPlane({ config, features, datapath, growth, store, identity }, lifecycle);
  announceHost(host, plane);
  const watch = watchDevices(datapath, hooks, host);
  const health = trackSync(now);
  const checkOf = (service: string): HealthCheck | undefined =>
    healthChecksOf(store.service(service), store.slices(service), identity());
  const { checks, onWritten } = serveHealthChecks(checkOf, health, lifecycle);
  checks.listenAt(host.nodePortAddresses);
  host.onChange(({ renamed }) => {
    checks.listenAt(host.nodePortAddresses);
    if (renamed) store.touch(boundToNode(store));
  });
  const prepare = (): void => seedHash(config, datapath, store);
  const programmer = new Programmer({ plane, health, prepare, attach: () => watch.start(), onWritten });
  lifecycle.onStop(() => watch.stop());
  lifecycle.onStop(() => programmer.stop());
  // An earlier agent's Services are being forwarded: its programs are replaced at once. Otherwise the tables are filled
  // first.
  if (datapath.adopted) programmer.attachNow();
  await serve({ config, features, store, source, plane, host, ...hooks, programmer, errors }, lifecycle);
  store.subscribe({
    onServices: (services) => programmer.update(services),
    onNode: () => followNode(host, store, config.nodeName),
    onPods: () => hooks.exemptions.refresh(),
  });
  await source.start(programmer.sink(store, source.description));
  lifecycle.onStop(() => source.stop());
}

/** Known to the data path when this returns: before the first Service is, and before the first packet is. */
function announceHost(host: Host, plane: Dataplane): void {
  host.onChange(({ facts }) => plane.setHost(facts));
  host.refresh();
}

/** Loaded on demand: the client of the API server is large, and a folder of manifests does without. */
async function createSource(config: Config): Promise<Source> {
  if (config.manifests !== undefined) {
    const { ManifestSource } = await import('../source/manifests/source.ts');
    return new ManifestSource(config.manifests);
  }
  const { KubeSource } = await import('../source/kube/source.ts');
  // Pods are watched for the socket hooks alone: which processes they must leave alone.
  const pods = config.socketHooks !== 'off';
  return new KubeSource({ kubeconfig: config.kubeconfig, nodeName: config.nodeName, pods });
}
