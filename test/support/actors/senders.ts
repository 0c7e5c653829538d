// UDP clients that never stop sending, as resolvers and log shippers do. One whose socket fails dials again, from its
// port.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { plain, type Target } from './tcp.ts';

const pauseMs = 20;

interface SenderOptions extends Target {
  /** false: each datagram names its peer. */
  readonly connected?: boolean;
}

/** What has become of a client until now. */
export interface Sent {
  readonly dials: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Who answered last. */
  readonly server: string;
  /** Under which address and port. */
  readonly from: string;
}

interface Sender {
  readonly options: SenderOptions;
  readonly sent: { -readonly [Key in keyof Sent]: Sent[Key] } & { errors: Record<string, number> };
  socket: Socket | undefined;
  port: number; // its own; 0 until the first dial
  timer: NodeJS.Timeout | undefined;
}

const senders = new Map<number, Sender>();
let nextId = 1;

async function dial(sender: Sender): Promise<void> {
  const { host, port, connected = true } = sender.options;
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  sender.socket = socket;
  socket.on('error', (error: NodeJS.ErrnoException) => fail(sender, socket, error.code ?? error.message));
  socket.on('message', (payload, { address, port: from }) => {
    sender.sent.server = (JSON.parse(payload.toString('latin1')) as { server: string }).server;
    sender.sent.from = `${plain(address)} ${String(from)}`;
  });
  socket.bind(sender.port);
  await once(socket, 'listening');
  sender.port = socket.address().port;
  if (connected) {
    socket.connect(port, host);
    await once(socket, 'connect');
  }
  sender.sent.dials++;
}

/** ECONNREFUSED is no reason to connect again; a socket that was ended is. */
function fail(sender: Sender, socket: Socket, code: string): void {
  if (socket !== sender.socket) return;
  sender.sent.errors[code] = (sender.sent.errors[code] ?? 0) + 1;
  if (code === 'ECONNREFUSED') return;
  sender.socket = undefined;
  socket.close();
  void dial(sender);
}

function send({ socket, options }: Sender): void {
  const { host, port, connected = true } = options;
  try {
    if (connected) socket?.send('?');
    else socket?.send('?', port, host);
  } catch {
    // Between two connections there is no socket to send by.
  }
}

async function startSender(options: SenderOptions): Promise<number> {
  const sent = { dials: 0, errors: {}, server: '', from: '' };
  const sender: Sender = { options, sent, socket: undefined, port: 0, timer: undefined };
  await dial(sender);
  sender.timer = setInterval(() => send(sender), pauseMs);
  const id = nextId++;
  senders.set(id, sender);
  return id;
}

function senderState({ id }: { id: number }): Sent {
  const sender = senders.get(id);
  if (sender === undefined) throw new Error(`no sender ${String(id)}`);
  return sender.sent;
}

function stopSender({ id }: { id: number }): void {
  const sender = senders.get(id);
  clearInterval(sender?.timer);
  const socket = sender?.socket;
  if (sender !== undefined) sender.socket = undefined;
  socket?.close();
  senders.delete(id);
}

export const senderVerbs = { startSender, senderState, stopSender };
