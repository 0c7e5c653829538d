// The other side of an actor's relay: gives a server on the machine's own loopback a Unix socket.
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ownFolder } from '../run/owner.ts';

export interface UnixProxy {
  readonly path: string;
  close(): void;
}

export async function startUnixProxy(port: number): Promise<UnixProxy> {
  const path = join(ownFolder('proxy'), 'socket');
  const server: Server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
  return { path, close: () => server.close() };
}
