// A connection to the API server: TCP, through an HTTP proxy if there is one, and TLS for https URLs.
import http from 'node:http';
import https from 'node:https';
import net, { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { Access } from './credentials.ts';
import { ApiError } from './error.ts';
import { proxyFor } from './proxy.ts';
import { hostOf, portOf } from '../../net/hostport.ts';

/** TCP keepalive: the first probe after this time of silence; the kernel gives up some 10 s later. */
const keepaliveMs = 15_000;

/** Rejects when the signal is aborted, by which the caller sets a timeout. */
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
  raw.setKeepAlive(true, keepaliveMs);
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
    raw.on('error', () => undefined); // the socket on top of it emits the error too
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
