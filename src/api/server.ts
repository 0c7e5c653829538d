// The REST API: its resources, their OpenAPI description, and errors as {code, message}.
import { once } from 'node:events';
import { createServer } from 'node:net';
import swagger from '@fastify/swagger';
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyInstance } from 'fastify';
import { SluiceError } from '../errors.ts';
import { Connections, listenerLimits } from '../http/connections.ts';
import { errorAnswer } from '../http/errors.ts';
import { Listener } from '../http/listener.ts';
import { createHttpServer } from '../http/server.ts';
import type { HostPort } from '../net/hostport.ts';
import { backendRoutes } from './backends.ts';
import { flowRoutes } from './flows.ts';
import { healthRoutes } from './health.ts';
import { metricsRoutes } from './metrics.ts';
import { serviceRoutes } from './services.ts';
import { statusRoutes } from './status.ts';
import type { AgentView } from './view.ts';

/** The server, which does not listen yet: tests inject requests. */
export async function buildApi(view: AgentView, version: string): Promise<FastifyInstance> {
  const connections = new Connections(listenerLimits.connections);
  const app = fastify({
    logger: false,
    forceCloseConnections: true,
    serverFactory: (handle) => createHttpServer(handle, { guarded: true, connections }),
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  app.setErrorHandler((error, _request, reply) => {
    const { status, body } = errorAnswer(error);
    return reply.code(status).send(body);
  });
  app.setNotFoundHandler(({ method, url }) => {
    throw new SluiceError('SLB_E_NOT_FOUND', `no resource ${method} ${url}`);
  });
  await app.register(swagger, {
    openapi: {
      info: { title: 'Sluice', version, description: 'State of the agent and the data path of one node' },
    },
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

/** The loopback addresses of both families. */
const loopback = ['127.0.0.1', '::1'];

/** Listens and gives the address that was bound (port 0 chooses one). Throws SLB_E_LISTEN. */
export async function listenApi(app: FastifyInstance, { host, port }: HostPort): Promise<string> {
  const [first = host, second] = host === 'localhost' ? loopback : [host];
  const listener = new Listener(app.server, {
    ...{ name: 'api', label: '--api-address', retry: false, target: { host: first, port } },
    bind: (target) => app.listen(target),
  });
  const error = await listener.start();
  if (error !== undefined) throw error;
  const bound = app.server.address();
  if (second !== undefined && typeof bound === 'object') await listenToo(app, second, bound?.port ?? port);
  return listener.address();
}

/**
 * Hands connections to another address to the same server. Where that cannot be bound (no IPv6), one address has to do.
 */
async function listenToo(app: FastifyInstance, host: string, port: number): Promise<void> {
  const other = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    app.server.emit('connection', socket);
  });
  app.server.on('close', () => other.close());
  other.on('error', () => undefined);
  other.listen({ host, port });
  await once(other, 'listening').catch(() => undefined);
}
