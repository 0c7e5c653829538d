// What a process of the node sees of socket load balancing: nothing, although its socket connects to a backend directly.
import type { Status } from '../../src/api/bodies.ts';
import type { Network } from './network.ts';
import { promise, say, title } from './print.ts';

const dials = 10;

/** Dials the service that often, and prints the peer that the socket names. */
const program = (address: string): string => `
  for (let i = 0; i < ${String(dials)}; i++) {
    const socket = require('node:net').connect(80, '${address}', () => {
      console.log(socket.remoteAddress);
      socket.destroy();
    });
  }`;

export async function showSockets({ node, agent }: Network, address: string): Promise<void> {
  title(`${String(dials)} connections from the node itself, by socket hooks`);
  const before = await agent.json<Status>('/v1/status');
  const { state, detail } = before.socketHooks;
  say(`socket hooks are ${state}${state === 'on' ? ' in cgroup' : ':'} ${detail}`);
  if (state !== 'on') return;
  const { stdout } = await node.netns.run([process.execPath, '-e', program(address)]);
  const peers = stdout.trim().split('\n');
  const after = await agent.json<Status>('/v1/status');
  say(
    `${String(pointed(after) - pointed(before))} sockets connected to backends by the hooks; getpeername() says ${[...new Set(peers)].join(', ')}`,
  );
  promise(pointed(after) - pointed(before) === dials, 'none of their packets has to be translated');
  promise(
    peers.length === dials && peers.every((peer) => peer === address),
    'and each has reached the service, as far as it knows',
  );
}

function pointed({ verdicts }: Status): number {
  return verdicts.find(({ hook, verdict }) => hook === 'sock' && verdict === 'SOCKET_NEW')?.packets ?? 0;
}
