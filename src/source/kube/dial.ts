// A connection to the API server, over a proxy where one is asked for, with TLS where the server has it.
import http from 'node:http';
import https from 'node:https';
import net, { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Access } from './credentials.ts';
import { ApiError } from './error.ts';
import { proxyFor } from './proxy.ts';

/** The kernel asks a silent peer after this time whether it is still there, and gives it up some 10 s later. */
const probeMs = 15_000;

/** Rejects when the signal is aborted: the caller limits the time. */
export async function dial(
  access: Access,
  signal: AbortSignal,
  protocols: readonly string[],
): Promise<Socket> {
  const { server } = access;
  const host = hostOf(server);
  const port = portOf(server);
  const proxy = proxyFor(server, access.proxyUrl, process.env);
  const raw =
    proxy === undefined
      ? net.connect({ host, port })
      : await tunnel(proxy, `${server.hostname}:${port}`, signal);
  raw.setKeepAlive(true, probeMs);
  const secure = server.protocol === 'https:';
  const socket = secure
    ? tls.connect({
        socket: raw,
        host,
        ALPNProtocols: [...protocols],
        ...(isIP(host) === 0 ? { servername: host } : {}),
        ...access.tls,
      })
    : raw;
  const isOpen = !secure && !raw.connecting;
  await opened(socket, isOpen ? undefined : secure ? 'secureConnect' : 'connect', signal, raw);
  return socket;
}

export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}

function opened(socket: Socket, event: string | undefined, signal: AbortSignal, raw: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error: Error): void => {
      signal.removeEventListener('abort', giveUp);
      socket.destroy();
      raw.destroy();
      reject(error);
    };
    const giveUp = (): void => end(signal.reason as Error);
    const done = (): void => {
      signal.removeEventListener('abort', giveUp);
      socket.off('error', end);
      resolve();
    };
    if (signal.aborted) return giveUp();
    signal.addEventListener('abort', giveUp);
    raw.on('error', () => undefined); // told by the socket above it
    socket.once('error', end);
    if (event === undefined) done();
    else socket.once(event, done);
  });
}

function tunnel(proxy: URL, target: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const login = decodeURIComponent(`${proxy.username}:${proxy.password}`);
    const request = (proxy.protocol === 'https:' ? https : http).request({
      method: 'CONNECT',
      host: hostOf(proxy),
      port: portOf(proxy),
      path: target,
      agent: false,
      headers: {
        host: target,
        ...(login === ':' ? {} : { 'proxy-authorization': `Basic ${Buffer.from(login).toString('base64')}` }),
      },
      signal,
    });
    request.on('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(
        new ApiError({ message: `the proxy ${proxy.host} refuses the way to ${target}: ${statusCode}` }),
      );
    });
    request.on('response', ({ statusCode }) => {
      request.destroy();
      reject(
        new ApiError({ message: `the proxy ${proxy.host} refuses the way to ${target}: ${statusCode}` }),
      );
    });
    request.on('error', (error) => reject(new Error(`proxy ${proxy.host}: ${error.message}`)));
    request.end();
  });
}
