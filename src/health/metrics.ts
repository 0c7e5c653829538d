// The metrics address of a kube-proxy (S-98), so that dashboards and probes made for it find what they ask for.
import type { Answers } from './server.ts';

const text = 'text/plain; charset=utf-8';

export function metricsAnswers(metrics: () => Promise<string>): Answers {
  return {
    '/metrics': async () => ({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: await metrics(),
    }),
    '/proxyMode': () => ({ status: 200, type: text, body: 'sluice' }),
    '/healthz': () => ({ status: 200, type: text, body: 'ok' }),
  };
}
