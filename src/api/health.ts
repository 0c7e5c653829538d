import { ReadinessBody } from './bodies.ts';
import Type from 'typebox';
import type { Routes } from './route.ts';

/** Alive, and ready: everything that was listed at start is in the kernel. */
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
        summary: 'Everything listed at start is in the kernel',
        description: '503 names what is missing',
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
