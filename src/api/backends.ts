// GET /v1/backends: endpoints of all Services with their state and counters.
import { BackendPageBody, ErrorBody, PageQueryBody } from './bodies.ts';
import type { Routes } from './route.ts';

export const backendRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/backends',
    {
      schema: {
        summary: 'Backends by Service',
        description: 'A page ends with the last backend of a Service, so it may hold more than `limit`.',
        tags: ['services'],
        querystring: PageQueryBody,
        response: { 200: BackendPageBody, 400: ErrorBody },
      },
    },
    (request) => view.backends({ limit: 1_000, ...request.query }),
  );
};
