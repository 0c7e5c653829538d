// GET /v1/services and /v1/services/NAMESPACE/NAME.
import Type from 'typebox';
import { ErrorBody, PageQueryBody, ServiceDetailBody, ServicePageBody } from './bodies.ts';
import type { Routes } from './route.ts';

export const serviceRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/services',
    {
      schema: {
        summary: 'Services that this node forwards, by namespace/name',
        tags: ['services'],
        querystring: PageQueryBody,
        response: { 200: ServicePageBody, 400: ErrorBody },
      },
    },
    (request) => view.services({ limit: 1_000, ...request.query }),
  );
  scope.get(
    '/v1/services/:namespace/:name',
    {
      schema: {
        summary: 'One Service with its backends',
        tags: ['services'],
        params: Type.Object({ namespace: Type.String(), name: Type.String() }),
        response: { 200: ServiceDetailBody, 404: ErrorBody },
      },
    },
    ({ params }) => view.service(params.namespace, params.name),
  );
};
