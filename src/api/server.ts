// The REST server: resources, OpenAPI, and errors as {code, message}.
import swagger from '@fastify/swagger';
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import { SluiceError, messageOf, type ErrorCode } from '../errors.ts';
import { guard } from '../http/guard.ts';
import { limit, serverOptions } from '../http/connections.ts';
import { joinHostPort, type HostPort } from '../net/hostport.ts';
import { backendRoutes } from './backends.ts';
import { flowRoutes } from './flows.ts';
import { healthRoutes } from './health.ts';
import { metricsRoutes } from './metrics.ts';
import { serviceRoutes } from './services.ts';
import { statusRoutes } from './status.ts';
import type { AgentView } from './view.ts';

/** The instance, not yet listening: tests inject requests into it. */
export async function buildApi(view: AgentView, version: string): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    http: serverOptions,
  }).withTypeProvider<TypeBoxTypeProvider>();
  limit(app.server);
  app.addHook('onRequest', (request, _reply, done) => {
    guard(request.raw);
    done();
  });
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  app.setErrorHandler((error: FastifyError | SluiceError, _request, reply) => {
    const { status, body } = describeError(error);
    return reply.code(status).send(body);
  });
  app.setNotFoundHandler((request, reply) =>
    reply
      .code(404)
      .send({ code: 'SLB_E_NOT_FOUND', message: `no resource ${request.method} ${request.url}` }),
  );
  await app.register(swagger, {
    openapi: { info: { title: 'Sluice', version, description: 'State of one node' } },
  });
  for (const routes of [
    healthRoutes,
    metricsRoutes,
    statusRoutes,
    serviceRoutes,
    backendRoutes,
    flowRoutes,
  ]) {
    await app.register(async (scope) => routes(scope, view));
  }
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
  await app.ready();
  return app;
}

function describeError(error: FastifyError | SluiceError): {
  status: number;
  body: { code: string; message: string };
} {
  if (error instanceof SluiceError) {
    return { status: statuses[error.code] ?? 500, body: { code: error.code, message: error.detail } };
  }
  const status = error.statusCode ?? 500;
  // What the framework refuses is the request's fault; everything else it throws is a bug of ours.
  const code = status < 500 ? 'SLB_E_API' : 'SLB_E_INTERNAL';
  return { status, body: { code, message: error.message } };
}

const statuses: Readonly<Partial<Record<ErrorCode, number>>> = {
  SLB_E_API: 400,
  SLB_E_ORIGIN: 403,
  SLB_E_NOT_FOUND: 404,
};

/** Listens and gives the address that was bound (port 0 chooses one). */
export async function listenApi(app: FastifyInstance, { host, port }: HostPort): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw new SluiceError('SLB_E_LISTEN', `--api-address ${joinHostPort(host, port)}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const [bound] = app.addresses();
  return bound === undefined || typeof bound === 'string'
    ? joinHostPort(host, port)
    : joinHostPort(bound.address, bound.port);
}
