// GET /v1/flows: a page of the flow tables.
import { ErrorBody, FlowPageBody, FlowQueryBody } from './bodies.ts';
import type { Routes } from './route.ts';

const pageSize = 100;

export const flowRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/flows',
    {
      schema: {
        summary: 'Flows: connections in the kernel tables',
        description:
          'The tables change while they are read: a flow that exists during all pages is listed at least once.',
        tags: ['flows'],
        querystring: FlowQueryBody,
        response: { 200: FlowPageBody, 400: ErrorBody },
      },
    },
    (request) => view.flows({ limit: pageSize, ...request.query }),
  );
};
