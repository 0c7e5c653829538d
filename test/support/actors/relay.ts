// A door out of a network namespace: Unix sockets have none, so a server of the machine can be had at a node's own
// loopback.
import { connect, createServer } from 'node:net';

/** Hands every connection to a port of the loopback on to a Unix socket. */
function relay({ port, path }: { port: number; path: string }): Promise<void> {
  const server = createServer((near) => {
    const far = connect(path);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

export const relayVerbs = { relay };
