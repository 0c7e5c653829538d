// Everything of the agent that answers: /healthz and /livez, the metrics address, the REST API, health checks of Services.
import { buildApi, listenApi } from '../api/server.ts';
import { defaultPortOf, type Config, type ConfigKey } from '../config/schema.ts';
import { isNodeEligible, liveAnswers } from '../health/live.ts';
import { metricsAnswers } from '../health/metrics.ts';
import { HealthChecks } from '../health/nodeports.ts';
import { HealthServer } from '../health/server.ts';
import type { SyncHealth } from '../health/sync.ts';
import { byPath, type Answers } from '../http/answer.ts';
import { shared } from '../http/shared.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { HealthCheck } from '../model/health.ts';
import { startMetrics } from '../observe/metrics.ts';
import type { Programming } from './programmer.ts';
import { metricsOf } from './view/metrics.ts';
import type { Store } from '../source/store.ts';
import { parseHostPort } from '../net/hostport.ts';
import { version } from '../version.ts';
import type { Components } from './view/components.ts';
import { createView } from './view/view.ts';

export interface ServedComponents extends Components {
  readonly config: Config;
  readonly store: Store;
  readonly programming: Programming;
}

const now = (): Date => new Date();

/** Before the source starts: while it is being listed, /readyz says so. */
export async function serve(components: ServedComponents, lifecycle: Lifecycle): Promise<void> {
  const { config, programming } = components;
  const metrics = startMetrics(metricsOf(components), { version, node: config.nodeName });
  lifecycle.onStop(() => metrics.stop());
  const text = shared(() => metrics.text());
  const live = liveAnswers(programming.health, () => isEligible(components), now);
  await serveHealth(config, 'healthzBindAddress', live, lifecycle);
  const texts = metricsAnswers({
    metrics: text,
    healthchecks: () => metrics.healthchecks(),
    config,
  });
  await serveHealth(config, 'metricsBindAddress', texts, lifecycle);
  const address = parseHostPort(config.apiAddress, defaultPortOf('apiAddress'));
  if (address === undefined) return;
  const view = createView(components, text);
  const api = await buildApi(view, version);
  lifecycle.onStop(() => api.close());
  await listenApi(api, address);
}

/** With manifests there is no Node object, and nothing takes the node out of service (S-96). */
function isEligible({ config, store }: ServedComponents): boolean {
  const node = store.node();
  return node === undefined && config.manifests !== undefined ? true : isNodeEligible(node);
}

type HealthKey = Extract<ConfigKey, 'healthzBindAddress' | 'metricsBindAddress'>;

async function serveHealth(
  config: Config,
  key: HealthKey,
  answers: Answers,
  lifecycle: Lifecycle,
): Promise<void> {
  const target = parseHostPort(config[key], defaultPortOf(key));
  if (target === undefined) return; // checked before: empty, so switched off
  const server = new HealthServer({ name: key.replace('BindAddress', ''), target, answer: byPath(answers) });
  lifecycle.onStop(() => server.stop());
  const error = await server.start();
  if (error !== undefined && config.bindAddressHardFail) throw error; // S-97
}

/** The health checks of Services, and what to call for Services that packets meet anew. */
export function serveHealthChecks(
  checkOf: (service: string) => HealthCheck | undefined,
  health: SyncHealth,
  lifecycle: Lifecycle,
): { readonly checks: HealthChecks; readonly onWritten: (services: ReadonlySet<string>) => void } {
  const checks = new HealthChecks({ healthy: () => health.healthy });
  lifecycle.onStop(() => checks.stop());
  return {
    checks,
    onWritten: (services) => checks.update(new Map([...services].map((key) => [key, checkOf(key)]))),
  };
}
