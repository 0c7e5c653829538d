// What the REST API may ask of the agent, each answer put together when it is asked for.
import type { AgentView } from '../../api/view.ts';
import type { Components } from './components.ts';
import { flowPage } from './flows.ts';
import { backendPage, serviceDetail, servicePage } from './services.ts';
import { agentStatus, readinessOf } from './status.ts';

/** `metrics` gives the Prometheus text. */
export function createView(components: Components, metrics: () => Promise<string>): AgentView {
  const startedAt = new Date();
  return {
    readiness: () => readinessOf(components.programmer.missing()),
    status: () => agentStatus(components, startedAt),
    services: (page) => servicePage(components, page),
    service: (namespace, name) => serviceDetail(components, namespace, name),
    backends: (page) => backendPage(components, page),
    flows: (query) => flowPage(components, query),
    metrics,
  };
}
