// Facts: what happened, published once where it happened. Log, metrics and Kubernetes events listen; without a listener
// a fact costs one check.
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';

export type Level = 'debug' | 'info' | 'warn' | 'error';

/** Payload of every fact. `service` is namespace/name wherever there is one. Times are milliseconds. */
export interface Facts {
  'config.ignored': { detail: string };
  'config.deprecated': { detail: string };
  'config.refused': { error: unknown };
  'agent.starting': { version: string; source: string };
  'agent.waiting': { folder: string; holder: string };
  'agent.ready': { services: number; tookMs: number };
  'agent.stopping': { signal: string };
  'agent.fault': { error: unknown };
  'datapath.loaded': { adopted: boolean; kernel: string };
  /** Pinned maps of another size or layout than this agent's; their rows are taken over. */
  'datapath.replaced': { maps: readonly string[] };
  'datapath.oversized': { map: string; option: string; error: unknown };
  'datapath.lost': { map: string; error: unknown };
  'datapath.fallback': { feature: string; detail: string };
  'device.attached': { device: string; tc: string; xdp: string };
  'device.behind': { device: string; tc: string };
  'device.detached': { device: string };
  'device.failed': { device: string; error: unknown };
  'sockets.attached': { cgroup: string };
  'sockets.ended': { state: string; detail: string };
  'sockets.failed': { error: unknown };
  'sockets.destroyed': { sockets: number };
  'sockets.stranded': { sockets: number; error: unknown };
  /** `cgroups`: how many there are now whose processes the socket hooks leave alone. */
  'exempt.changed': { cgroups: number };
  'exempt.failed': { subject: string; error: unknown }; // pod or cgroup, or "all"
  'host.changed': { node: readonly string[]; addresses: number };
  /** Devices or pod ranges, with the addresses as before. */
  'host.devices': { devices: number };
  'host.unexpected': { detail: string };
  /** A request to the API server. `tookMs` is undefined for a watch, which has no duration of its own. */
  'api.answered': { host: string; method: string; code: string; tookMs: number | undefined };
  'source.synced': { source: string };
  'source.problem': { where: string; field: string; message: string };
  'source.failing': { where: string; message: string };
  'source.recovered': { where: string };
  'source.changed': { services: number; slices: number };
  'service.changed': { service: string; ports: number };
  'service.removed': { service: string };
  'services.queued': { services: number };
  'services.written': { services: number };
  'endpoints.programmed': { service: string; family: 4 | 6; tookMs: number };
  'sync.done': { services: number; operations: number; tookMs: number; first: boolean };
  'sync.failed': { error: unknown; retryMs: number };
  /** `service` is empty for rows of the host: addresses, devices, pod ranges. */
  'service.unserved': { service: string; error: unknown };
  'service.served': { service: string };
  /** `from` and `to`: rows before and after. */
  'tables.growing': { tables: readonly { map: string; from: number; to: number }[] };
  'tables.grown': { tables: readonly { map: string; from: number; to: number }[]; tookMs: number };
  'tables.refused': { error: unknown };
  'map.filling': { map: string; detail: string };
  'server.listening': { server: string; address: string; service?: string };
  'server.failed': { server: string; address: string; error: unknown; service?: string };
  'event.failed': { reason: string; detail: string };
  'probe.answered': { probe: 'healthz' | 'livez'; status: number };
  'server.closed': { server: string; service: string; port: number };
}

export type FactName = keyof Facts;

const prefix = 'sluice:';

export function publish<Name extends FactName>(name: Name, fact: Facts[Name]): void {
  const target = channel(prefix + name);
  if (target.hasSubscribers) target.publish(fact);
}

/** Calls `handle` with each such fact, synchronously. Returns the function that ends the subscription. */
export function listen<Name extends FactName>(name: Name, handle: (fact: Facts[Name]) => void): () => void {
  const onMessage = (message: unknown): void => {
    handle(message as Facts[Name]);
  };
  subscribe(prefix + name, onMessage);
  return () => unsubscribe(prefix + name, onMessage);
}
