// GET /healthz and /readyz of the API address.
import { ReadinessBody } from './bodies.ts';
import Type from 'typebox';
import type { Routes } from './route.ts';

/** Liveness, and readiness: all Services that were listed at start are in the kernel. */
export const healthRoutes: Routes = (scope, view) => {
  scope.get(
    '/healthz',
    {
      schema: {
        summary: 'The agent is alive',
        tags: ['health'],
        response: { 200: Type.Object({ status: Type.Literal('ok') }) },
      },
    },
    () => ({ status: 'ok' as const }),
  );
  scope.get(
    '/readyz',
    {
      schema: {
        summary: 'All Services listed at start are in the kernel',
        description: '503 with what is missing',
        tags: ['health'],
        response: { 200: ReadinessBody, 503: ReadinessBody },
      },
    },
    (_request, reply) => {
      const readiness = view.readiness();
      void reply.code(readiness.ready ? 200 : 503);
      return readiness;
    },
  );
};
