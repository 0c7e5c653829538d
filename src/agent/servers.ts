// The HTTP servers of the agent: /healthz and /livez, metrics, REST API, and the health check node ports of Services.
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
import type { Programmer } from './programmer.ts';
import { metricsOf } from './view/metrics.ts';
import type { Store } from '../source/store.ts';
import { parseHostPort } from '../net/hostport.ts';
import { version } from '../version.ts';
import type { Components } from './view/components.ts';
import { createView } from './view/view.ts';

export interface ServedComponents extends Components {
  readonly config: Config;
  readonly store: Store;
  readonly programmer: Programmer;
}

const now = (): Date => new Date();

/**
 * Starts them. Called before the source starts, so that /readyz answers while objects are listed. Throws SLB_E_LISTEN
 * for the API, and with --bind-address-hard-fail for the others.
 */
export async function serve(components: ServedComponents, lifecycle: Lifecycle): Promise<void> {
  const { config, programmer } = components;
  const metrics = startMetrics(metricsOf(components), { version, node: config.nodeName });
  lifecycle.onStop(() => metrics.stop());
  const text = shared(() => metrics.text());
  const live = liveAnswers(programmer.health, () => isEligible(components), now);
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

/** Whether load balancers may send to this node (S-96). Manifests need no Node object. */
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
  if (target === undefined) return; // empty: switched off; config/load.ts has refused anything else
  const server = new HealthServer({ name: key.replace('BindAddress', ''), target, answer: byPath(answers) });
  lifecycle.onStop(() => server.stop());
  const error = await server.start();
  if (error !== undefined && config.bindAddressHardFail) throw error; // S-97
}

/** Health check node ports (S-91 … S-94). Call `onWritten` with the Services whose rows have just been written. */
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
