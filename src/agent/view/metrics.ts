// Where the metrics read their values from, each time they are asked for.
import { noTraffic } from '../../maps/counters.ts';
import { isNearlyFull } from '../../maps/sizes.ts';
import { noLocalEndpoints } from '../../model/health.ts';
import type { ServicePort } from '../../model/types.ts';
import type { NoLocalCounts } from '../../observe/kubeproxy.ts';
import type { MetricsSource } from '../../observe/metrics.ts';
import type { PortLabels } from '../../observe/traffic.ts';
import type { Components } from './components.ts';
import { familyName, knownPorts, type KnownPort } from './services.ts';

export function metricsOf({ plane, store, programmer, sockets }: Components): MetricsSource {
  return {
    ready: () => programmer.missing().length === 0,
    problems: () => store.currentProblems().length,
    verdicts: () => plane.verdicts(),
    packetCounts: () => plane.packetCounts(),
    maps: () => plane.fill(),
    unprogrammed: () => plane.shortages.length,
    failingSince: () => plane.failingSince,
    nearlyFull: () => plane.fill().filter(isNearlyFull).length,
    flows: () => plane.flowCounts(),
    socketHooks: () => sockets.state().state === 'on',
    noLocal: () => countNoLocal(knownPorts(plane.ports())),
    ports: () => {
      const countersOf = plane.serviceCounters();
      return knownPorts(plane.ports()).map(({ port, row, backends }) => ({
        labels: labelsOf(port),
        backends: backends.filter((one) => one.lists !== 0).length,
        counters: countersOf(row.id) ?? noTraffic,
      }));
    },
  };
}

function countNoLocal(states: readonly KnownPort[]): NoLocalCounts {
  const counts = { internal: { IPv4: 0, IPv6: 0 }, external: { IPv4: 0, IPv6: 0 } };
  for (const { port } of states) {
    const { internal, external } = noLocalEndpoints(port);
    if (internal) counts.internal[familyName(port)]++;
    if (external) counts.external[familyName(port)]++;
  }
  return counts;
}

const labels = new WeakMap<ServicePort, PortLabels>();

function labelsOf(port: ServicePort): PortLabels {
  const known = labels.get(port);
  if (known !== undefined) return known;
  const { namespace, name: service, portName, protocol } = port;
  const made = { namespace, service, port: portName, protocol, family: familyName(port) };
  labels.set(port, made);
  return made;
}
