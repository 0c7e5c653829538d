// The paths of kube-proxy's metrics address (S-98), for dashboards and probes that were made for it.
import { plainText, type Answer, type Answers } from '../http/answer.ts';

export interface MetricsTexts {
  readonly metrics: () => Promise<string>;
  /** kubernetes_healthcheck and its counter, for /metrics/slis. */
  readonly healthchecks: () => string;
  readonly config: object;
}

const exposition = 'text/plain; version=0.0.4; charset=utf-8';

export function metricsAnswers({ metrics, healthchecks, config }: MetricsTexts): Answers {
  return {
    '/metrics': async () => ok(exposition, await metrics()),
    '/metrics/slis': () => ok(exposition, healthchecks()),
    '/proxyMode': () => ok(plainText, 'sluice'),
    '/healthz': () => ok(plainText, 'ok'),
    '/configz': () => ok('application/json', JSON.stringify({ sluice: config })),
  };
}

function ok(type: string, body: string): Answer {
  return { status: 200, type, body };
}
