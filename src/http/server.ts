// The HTTP servers of the agent: REST API, health probes and metrics. None of them authenticates, so every server has
// the same limits: on connections, on time, on the size of headers, and one answer a connection.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Connections, listenerLimits, type Limits } from './connections.ts';
import { sendError } from './errors.ts';
import { guard } from './guard.ts';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpServerOptions {
  /** Answers with 403 what a browser was made to send by a page of another origin: see guard.ts. */
  readonly guarded?: boolean;
  readonly connections: Connections;
  readonly limits?: Limits;
}

const maxHeaderBytes = 8_192;

/** A server that does not listen yet. Each connection is closed after its answer, or when its time is over. */
export function createHttpServer(
  handle: RequestHandler,
  { guarded = false, connections, limits = listenerLimits }: HttpServerOptions,
): Server {
  // Node looks at its own time-outs only every 30 s: they are set for the record, and timers keep ours.
  const options = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: limits.headersMs,
    requestTimeout: Math.max(limits.headersMs, limits.answerMs),
    keepAlive: false,
  };
  const { restart, clear } = socketTimers();
  const server = createServer(options, (request, response) => {
    response.setHeader('connection', 'close');
    restart(request.socket, limits.answerMs);
    if (!guarded || admit(request, response)) handle(request, response);
  });
  server.on('connection', (socket: Socket) => {
    restart(socket, limits.headersMs);
    socket.once('close', () => clear(socket));
    connections.admit(socket);
  });
  return server;
}

/** Whether the request may be answered; one that may not has got its error. */
function admit(request: IncomingMessage, response: ServerResponse): boolean {
  try {
    guard(request);
    return true;
  } catch (error) {
    sendError(response, error);
    return false;
  }
}

interface SocketTimers {
  readonly restart: (socket: Socket, ms: number) => void;
  readonly clear: (socket: Socket) => void;
}

/** One timer a socket; a socket whose timer expires is destroyed. */
function socketTimers(): SocketTimers {
  const timers = new WeakMap<Socket, NodeJS.Timeout>();
  const clear = (socket: Socket): void => clearTimeout(timers.get(socket));
  const restart = (socket: Socket, ms: number): void => {
    clear(socket);
    timers.set(socket, setTimeout(() => socket.destroy(), ms).unref());
  };
  return { restart, clear };
}
