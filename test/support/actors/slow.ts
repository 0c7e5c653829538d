// Verbs of an actor that a server may take for slow clients: half a request each, held open, and dialled again when
// ended.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const againMs = 500;
const held = new Set<Socket>();
let stopped = true;

/** Resolves when every one of them has been connected once. */
async function holdSlow({
  host,
  ports,
  count,
}: {
  host: string;
  ports: number[];
  count: number;
}): Promise<void> {
  stopped = false;
  for (let index = 0; index < count; index++) {
    const port = ports[index % ports.length] ?? 0;
    const first = dial(host, port);
    if (index % 50 === 49 || index + 1 === count) await once(first, 'connect');
  }
}

function dial(host: string, port: number): Socket {
  const socket = connect({ host, port });
  held.add(socket);
  socket.once('connect', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: '));
  socket.on('error', () => undefined).resume();
  socket.once('close', () => {
    held.delete(socket);
    if (!stopped) setTimeout(() => stopped || dial(host, port), againMs);
  });
  return socket;
}

function dropSlow(): void {
  stopped = true;
  for (const socket of held) socket.destroy();
}

export const slowVerbs = { holdSlow, dropSlow };
