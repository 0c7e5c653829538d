// The other side of an actor's relay: gives a server on the machine's own loopback a Unix socket.
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { ownFolder } from './owner.ts';

export interface Door {
  readonly path: string;
  close(): void;
}

export async function openDoor(port: number): Promise<Door> {
  const path = join(ownFolder('door'), 'socket');
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
