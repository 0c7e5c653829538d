// UDP as the lab speaks it: a server answers each datagram with its name, the client it sees, and the payload.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isForeign, plain, within, type Tally, type Target } from './tcp.ts';

const typeOf = (host: string): 'udp4' | 'udp6' => (host.includes(':') ? 'udp6' : 'udp4');

interface Named {
  readonly port: number;
  readonly name: string;
}

interface UdpReply {
  readonly server: string;
  readonly client: string;
  readonly payload: string;
}

/** Sockets of our servers, by their port. */
const serving = new Map<number, Socket>();

/**
 * A host with several addresses serves each by a socket of its own: one of all of them would answer from another than
 * asked.
 */
function serveUdp({ port, name, host = '::' }: Named & { readonly host?: string }): Promise<number> {
  const socket = createSocket({ type: typeOf(host), recvBufferSize: 4 << 20 });
  serving.set(port, socket);
  socket.on('message', (payload, from) => {
    const reply: UdpReply = {
      server: name,
      client: `${plain(from.address)} ${String(from.port)}`,
      payload: payload.toString('latin1'),
    };
    socket.send(JSON.stringify(reply), from.port, from.address);
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, host, () => {
      resolve(socket.address().port);
    });
  });
}

interface UdpClient {
  readonly socket: Socket;
  readonly local: string;
  /** What servers have sent unasked. */
  readonly pushed: string[];
}

const pushedMark = 'pushed ';

/** Keeps what servers send unasked, from before it is asked for. */
function client(socket: Socket, local: string): UdpClient {
  const pushed: string[] = [];
  socket.on('message', (message) => {
    const text = message.toString('latin1');
    if (text.startsWith(pushedMark)) pushed.push(text.slice(pushedMark.length));
  });
  return { socket, local, pushed };
}

/** A server speaks unasked, to a client as it sees it. */
function pushUdp({ port, to, text }: { port: number; to: Target; text: string }): void {
  const host = to.host.includes(':') ? to.host : `::ffff:${to.host}`; // of a socket of both families
  serving.get(port)?.send(pushedMark + text, to.port, host);
}

/** What a server has said unasked. */
async function hearUdp({ id }: { id: number }): Promise<string> {
  const found = held.get(id);
  if (found === undefined) throw new Error(`no UDP client ${String(id)}`);
  if (found.pushed.length === 0) await within('a push', once(found.socket, 'message'));
  return found.pushed.shift() ?? 'another datagram';
}

/** A connected socket: the kernel hands it ICMP errors as ECONNREFUSED. */
async function connectUdp({ host, port }: Target, localPort = 0): Promise<UdpClient> {
  const socket = createSocket({ type: typeOf(host), reuseAddr: localPort !== 0 });
  socket.bind(localPort);
  await once(socket, 'listening');
  socket.connect(port, host);
  await once(socket, 'connect');
  const { address, port: own } = socket.address();
  return client(socket, `${plain(address)} ${String(own)}`);
}

async function exchange({ socket }: UdpClient, payload: string, ms?: number): Promise<UdpReply> {
  const reply = once(socket, 'message') as Promise<[Buffer]>; // rejects on 'error'
  reply.catch(() => undefined);
  socket.send(payload);
  const [text] = await within('a datagram', reply, ms);
  return JSON.parse(text.toString('latin1')) as UdpReply;
}

/** `sockets` clients, each sending `each` datagrams in turn, one in flight. Nothing is sent twice. */
async function datagrams(
  options: Target & { readonly sockets: number; readonly each: number; readonly firstPort?: number },
): Promise<Tally> {
  const servers: Record<string, number> = {};
  const errors: Record<string, number> = {};
  let foreign = 0;
  const oneSocket = async (_: unknown, i: number): Promise<void> => {
    const opened = await connectUdp(options, options.firstPort === undefined ? 0 : options.firstPort + i);
    for (let n = 0; n < options.each; n++) {
      const payload = `datagram ${String(i)} ${String(n)}`;
      try {
        const reply = await exchange(opened, payload);
        if (isForeign(reply.client, opened.local)) foreign++;
        const key = reply.payload === payload ? reply.server : 'payload differs';
        servers[key] = (servers[key] ?? 0) + 1;
      } catch (error) {
        const key = (error as NodeJS.ErrnoException).code ?? String(error);
        errors[key] = (errors[key] ?? 0) + 1;
      }
    }
    opened.socket.close();
  };
  // In waves, so that a burst of thousands does not test the socket buffers of the lab instead.
  const waves = Array.from({ length: options.sockets }, (_, i) => i);
  while (waves.length > 0) await Promise.all(waves.splice(0, 250).map((i) => oneSocket(undefined, i)));
  return { servers, errors, foreign };
}

const held = new Map<number, UdpClient>();
let nextId = 1;

/** A client that keeps its port, as DNS resolvers do. */
async function openUdp(
  target: Target & { readonly localPort?: number },
): Promise<{ id: number; local: string }> {
  const opened = await connectUdp(target, target.localPort);
  const id = nextId++;
  held.set(id, opened);
  return { id, local: opened.local };
}

async function askUdp({ id, text, ms }: { id: number; text: string; ms?: number }): Promise<UdpReply> {
  const found = held.get(id);
  if (found === undefined) throw new Error(`no UDP client ${String(id)}`);
  return exchange(found, text, ms);
}

/** A socket that names its peer with every datagram. */
async function openLoose({
  type,
  localPort = 0,
}: {
  type: 'udp4' | 'udp6';
  localPort?: number;
}): Promise<number> {
  const socket = createSocket(type);
  socket.bind(localPort);
  await once(socket, 'listening');
  const id = nextId++;
  held.set(id, client(socket, ''));
  return id;
}

interface LooseReply extends UdpReply {
  readonly from: string; // the sender as the program sees it
}

async function askLoose({
  id,
  host,
  port,
  text,
}: Target & { id: number; text: string }): Promise<LooseReply> {
  const socket = held.get(id)?.socket;
  if (socket === undefined) throw new Error(`no UDP client ${String(id)}`);
  const reply = once(socket, 'message') as Promise<[Buffer, RemoteInfo]>;
  reply.catch(() => undefined);
  socket.send(text, port, host);
  const [payload, from] = await within('a datagram', reply);
  return {
    ...(JSON.parse(payload.toString('latin1')) as UdpReply),
    from: `${plain(from.address)} ${String(from.port)}`,
  };
}

function shutUdp({ id }: { id: number }): void {
  held.get(id)?.socket.close();
  held.delete(id);
}

export const udpVerbs = {
  ...{ serveUdp, pushUdp, datagrams },
  ...{ openUdp, askUdp, hearUdp, openLoose, askLoose, shutUdp },
};
