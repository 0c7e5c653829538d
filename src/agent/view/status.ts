// The state of the agent and of its node, for `sluice status` and /readyz.
import type { Readiness, Status } from '../../api/bodies.ts';
import { describeFill, describeShortage, describeUncounted, isNearlyFull } from '../../maps/sizes.ts';
import { version } from '../../version.ts';
import type { Components } from './components.ts';
import { problemBody } from './problems.ts';
import { knownPorts } from './services.ts';

/** What is missing before the agent is ready. */
export function readinessOf(missing: readonly string[]): Readiness {
  return { ready: missing.length === 0, missing: [...missing] };
}

export function agentStatus(components: Components, startedAt: Date): Status {
  return {
    version,
    node: components.config.nodeName,
    nodeAddresses: [...components.host.nodeAddresses],
    startedAt: startedAt.toISOString(),
    uptimeSec: Math.floor((Date.now() - startedAt.getTime()) / 1_000),
    ...readinessOf(components.programmer.missing()),
    ...componentStatus(components),
  };
}

type ComponentStatus = Omit<
  Status,
  'version' | 'node' | 'nodeAddresses' | 'startedAt' | 'uptimeSec' | keyof Readiness
>;

function componentStatus({
  source,
  store,
  plane,
  programmer,
  attachments,
  sockets,
  exemptions,
  features,
  errors,
}: Components): ComponentStatus {
  const ports = knownPorts(plane.ports());
  const { lastSync, failingSince } = plane;
  const fill = plane.fill();
  return {
    source: {
      description: source.description,
      synced: programmer.listed,
      problems: store.currentProblems().map(problemBody),
    },
    socketHooks: { ...sockets.state() },
    exempt: exemptions.list().map((one) => ({ ...one })),
    devices: attachments.states().map(({ name, role, tc, xdp }) => ({ name, role, tc, xdp })),
    features: features.list.map(({ name, supported, detail }) => ({ name, supported, detail })),
    maps: fill.map(({ name, used, size, bound }) => ({ name, used, size, bound })),
    warnings: warningsOf(plane),
    unprogrammed: plane.shortages.map((one) => ({ service: one.service, reason: describeShortage(one) })),
    verdicts: plane
      .verdicts()
      .map(({ hook, verdict, class: kind, packets }) => ({ hook, verdict, class: kind, packets })),
    counters: plane.packetCounts().map(({ name, count }) => ({ counter: name, count })),
    services: new Set(ports.map(({ port }) => `${port.namespace}/${port.name}`)).size,
    servicePorts: ports.length,
    backends: ports.reduce((sum, { backends }) => sum + backends.length, 0),
    ...(failingSince === undefined ? {} : { failingSince: failingSince.toISOString() }),
    ...(lastSync === undefined ? {} : { lastSync: { ...lastSync, at: lastSync.at.toISOString() } }),
    errors: errors.list().map(({ at, code, message }) => ({ at: at.toISOString(), code, message })),
  };
}

function warningsOf(plane: Components['plane']): string[] {
  const filling = plane.fill().filter(isNearlyFull).map(describeFill);
  return plane.uncounted > 0 ? [...filling, describeUncounted(plane.uncounted)] : filling;
}
