// GET /metrics, the same text as at --metrics-bind-address.
import type { Routes } from './route.ts';

export const metricsRoutes: Routes = (scope, view) => {
  scope.get(
    '/metrics',
    {
      schema: {
        summary: 'Metrics in the Prometheus text format',
        tags: ['health'],
        produces: ['text/plain'],
      },
    },
    async (_request, reply) =>
      reply.type('text/plain; version=0.0.4; charset=utf-8').send(await view.metrics()),
  );
};
