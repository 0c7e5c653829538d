import { BackendPageBody, ErrorBody, PageQueryBody } from './bodies.ts';
import type { Routes } from './route.ts';

export const backendRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/backends',
    {
      schema: {
        summary: 'Backends, service by service',
        description: 'A page ends with the service that fills it, and may be longer than its limit by that.',
        tags: ['services'],
        querystring: PageQueryBody,
        response: { 200: BackendPageBody, 400: ErrorBody },
      },
    },
    (request) => view.backends({ limit: 1_000, ...request.query }),
  );
};
