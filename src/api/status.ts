// GET /v1/status: what `sluice status` prints.
import { StatusBody } from './bodies.ts';
import type { Routes } from './route.ts';

export const statusRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/status',
    {
      schema: {
        summary: 'Agent, source, devices, maps and verdicts of this node',
        tags: ['node'],
        response: { 200: StatusBody },
      },
    },
    () => view.status(),
  );
};
