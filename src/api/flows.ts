import { ErrorBody, FlowPageBody, FlowQueryBody } from './bodies.ts';
import type { Routes } from './route.ts';

const pageSize = 100;

export const flowRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/flows',
    {
      schema: {
        summary: 'Connections, a page at a time',
        description:
          'The table changes while it is read: a flow that lives through all pages is seen at least once.',
        tags: ['flows'],
        querystring: FlowQueryBody,
        response: { 200: FlowPageBody, 400: ErrorBody },
      },
    },
    (request) => view.flows({ limit: pageSize, ...request.query }),
  );
};
