// One HTTP/2 connection for all watches, asked regularly whether its other end is still there.
import http2, { type ClientHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from './clock.ts';
import { ApiError } from './error.ts';

export interface PingTimes {
  readonly everyMs: number;
  readonly withinMs: number;
}

/** A server that has not answered for as long as this is gone, whatever the kernel at the other end says. */
export const pingTimes: PingTimes = { everyMs: 15_000, withinMs: 15_000 };

const windowBytes = 1 << 20; // a list is not to wait for a round trip every 64 KiB

export function openSession(socket: Socket, server: URL, clock: Clock, times: PingTimes): ClientHttp2Session {
  const session = http2.connect(server, {
    createConnection: () => socket,
    settings: { enablePush: false, initialWindowSize: windowBytes },
  });
  session.on('error', () => undefined); // its streams tell
  session.once('connect', () => session.setLocalWindowSize(windowBytes));
  let cancel = clock.after(times.everyMs, ask);
  session.on('close', () => cancel());
  return session;

  function ask(): void {
    if (session.destroyed) return;
    const silent = new ApiError({ message: `no answer to a PING for ${times.withinMs / 1000} s` });
    cancel = clock.after(times.withinMs, () => session.destroy(silent));
    session.ping((error) => {
      if (error !== null || session.destroyed) return;
      cancel();
      cancel = clock.after(times.everyMs, ask);
    });
  }
}
