import Type from 'typebox';
import { BackendBody } from './bodies.ts';
import type { Routes } from './route.ts';

export const backendRoutes: Routes = (scope, view) => {
  scope.get(
    '/v1/backends',
    {
      schema: {
        summary: 'Every backend of every service port',
        tags: ['services'],
        response: { 200: Type.Object({ backends: Type.Array(BackendBody) }) },
      },
    },
    () => ({ backends: view.backends() }),
  );
};
