// TCP as the lab speaks it: a server greets with its name and the client address it sees, then echoes every byte.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Target {
  readonly host: string;
  readonly port: number;
}

export interface Greeting {
  readonly server: string;
  readonly client: string; // address and port as the server sees them
}

/** An IPv4 client of a dual-stack socket shows up mapped into IPv6. */
export const plain = (address = ''): string => address.replace(/^::ffff:(?=\d+\.)/, '');

/** Of "address port". */
export const addressOf = (end: string): string => plain(end.split(' ')[0]);

/** Whether the server sees another address than the client's own. Ports are not compared: one that a connection just
 * before still holds at the backend is exchanged (S-68), and which one the kernel draws is chance. */
export const isForeign = (seen: string, local: string): boolean => addressOf(seen) !== addressOf(local);

const patienceMs = 8000;

class Timeout extends Error {
  readonly code = 'ETIMEDOUT';
}

/** Rejects with ETIMEDOUT when nothing came in time: tells "refused" from "swallowed". */
export function within<T>(what: string, promise: Promise<T>, ms = patienceMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Timeout(`${what}: nothing came`));
    }, ms);
  });
  return Promise.race([promise, late]).finally(() => {
    clearTimeout(timer);
  });
}

interface Connection {
  readonly socket: Socket;
  readonly greeting: Greeting;
  readonly local: string;
  /** The next line the server sends; rejects when the connection ends first. */
  readonly line: () => Promise<string>;
}

/** Lines of a socket, asked for one at a time. */
function lineReader(socket: Socket): () => Promise<string> {
  let text = '';
  let failure: Error | undefined;
  let wake = (): void => undefined;
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    wake();
  });
  socket.on('error', (error) => (failure = error));
  socket.on('close', () => {
    failure ??= new Error('closed');
    wake();
  });
  return async () => {
    for (let end = text.indexOf('\n'); ; end = text.indexOf('\n')) {
      if (end >= 0) {
        const line = text.slice(0, end);
        text = text.slice(end + 1);
        return line;
      }
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
}

async function dial({ host, port }: Target, localPort?: number): Promise<Connection> {
  const socket = connect({ host, port, noDelay: true, ...(localPort === undefined ? {} : { localPort }) });
  const line = lineReader(socket);
  try {
    const greeting = JSON.parse(await within(`connect to ${host} ${String(port)}`, line())) as Greeting;
    const local = `${plain(socket.localAddress)} ${String(socket.localPort)}`;
    return { socket, greeting, local, line };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function echo({ socket, line }: Connection, text: string): Promise<string> {
  socket.write(`${text}\n`);
  return within('echo', line());
}

const count = (tally: Record<string, number>, key: string): void => {
  tally[key] = (tally[key] ?? 0) + 1;
};

export interface Tally {
  readonly servers: Record<string, number>;
  readonly errors: Record<string, number>;
  /** Exchanges whose server saw another client address than the client's own. */
  readonly foreign: number;
}

/** Connections of our servers, by the client that they see. */
const served = new Map<string, Socket>();

function serve({ port, name }: { port: number; name: string }): Promise<number> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const client = `${plain(socket.remoteAddress)} ${String(socket.remotePort)}`;
    socket.on('error', () => socket.destroy());
    served.set(client, socket);
    socket.once('close', () => served.delete(client));
    socket.write(JSON.stringify({ server: name, client }) + '\n');
    socket.pipe(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '::', backlog: 4096 }, () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Opens `connections` at once, holds them all open, has every one echo a line, and closes them. */
async function crowd(
  options: Target & { readonly connections: number; readonly firstPort?: number },
): Promise<Tally> {
  const servers: Record<string, number> = {};
  const errors: Record<string, number> = {};
  let foreign = 0;
  const dials = Array.from({ length: options.connections }, (_, i) =>
    dial(options, options.firstPort === undefined ? undefined : options.firstPort + i),
  );
  const opened: Connection[] = [];
  for (const result of await Promise.allSettled(dials)) {
    if (result.status === 'fulfilled') opened.push(result.value);
    else count(errors, (result.reason as NodeJS.ErrnoException).code ?? String(result.reason));
  }
  const talk = async (connection: Connection, i: number): Promise<void> => {
    if (isForeign(connection.greeting.client, connection.local)) foreign++;
    const said = await echo(connection, `line ${String(i)}`).catch(String);
    if (said === `line ${String(i)}`) count(servers, connection.greeting.server);
    else count(errors, said);
    connection.socket.end();
  };
  await Promise.all(opened.map(talk));
  return { servers, errors, foreign };
}

const held = new Map<number, Connection>();
let nextId = 1;

/** Opens a connection that stays. */
async function open(
  target: Target & { readonly localPort?: number },
): Promise<{ id: number; server: string; client: string; local: string; peer: string }> {
  const connection = await dial(target, target.localPort);
  const id = nextId++;
  held.set(id, connection);
  const { remoteAddress, remotePort } = connection.socket;
  const peer = `${plain(remoteAddress)} ${String(remotePort)}`;
  return { id, ...connection.greeting, local: connection.local, peer };
}

function ask({ id, text }: { id: number; text: string }): Promise<string> {
  const connection = held.get(id);
  if (connection === undefined) throw new Error(`no connection ${String(id)}`);
  return echo(connection, text);
}

/** The server speaks first, to a client as it sees it. */
function push({ client, text }: { client: string; text: string }): boolean {
  const socket = served.get(client);
  socket?.write(`${text}\n`);
  return socket !== undefined;
}

/** What the server has said unasked. */
function hear({ id }: { id: number }): Promise<string> {
  const connection = held.get(id);
  if (connection === undefined) throw new Error(`no connection ${String(id)}`);
  return within('push', connection.line());
}

function shut({ id }: { id: number }): void {
  held.get(id)?.socket.destroy();
  held.delete(id);
}

/** Sends `bytes` of noise, has them echoed, and compares digests of both ways. */
async function transfer(
  options: Target & { readonly bytes: number },
): Promise<{ server: string; sent: string; received: string; bytes: number }> {
  const { socket, greeting } = await dial(options);
  socket.removeAllListeners('data');
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    received.update(chunk);
    bytes += chunk.length;
  });
  const block = randomBytes(1 << 18);
  const finished = once(socket, 'end');
  for (let left = options.bytes, turn = 0; left > 0; left -= block.length, turn++) {
    block.writeUInt32BE(turn, 0); // no two blocks are equal: a repeated or lost one shows
    const piece = Buffer.from(block.subarray(0, Math.min(left, block.length)));
    sent.update(piece);
    if (!socket.write(piece)) await within('room to send', once(socket, 'drain'));
  }
  socket.end();
  await within('the end of the echo', finished, 60_000);
  return { server: greeting.server, sent: sent.digest('hex'), received: received.digest('hex'), bytes };
}

interface Load {
  readonly stop: AbortController;
  readonly workers: Promise<void>[];
  echoes: number;
  opened: number;
  readonly errors: Record<string, number>;
}
let load: Load | undefined;
const goesOn = ({ stop }: Load): boolean => !stop.signal.aborted;

/** Keeps `steady` connections echoing all the time, and opens short ones beside them, until stopLoad. */
function startLoad(options: Target & { readonly steady: number; readonly short: number }): void {
  const state: Load = { stop: new AbortController(), workers: [], echoes: 0, opened: 0, errors: {} };
  load = state;
  const work = async (perConnection: number): Promise<void> => {
    while (goesOn(state)) {
      const connection = await dial(options);
      state.opened++;
      for (let i = 0; i < perConnection && goesOn(state); i++) {
        await echo(connection, String(i));
        state.echoes++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      connection.socket.end();
    }
  };
  const guarded = (rounds: number): Promise<void> =>
    work(rounds).catch((error: unknown) => {
      count(state.errors, (error as NodeJS.ErrnoException).code ?? String(error));
    });
  for (let i = 0; i < options.steady; i++) state.workers.push(guarded(Infinity));
  for (let i = 0; i < options.short; i++) state.workers.push(guarded(1));
}

async function stopLoad(): Promise<{ echoes: number; opened: number; errors: Record<string, number> }> {
  if (load === undefined) throw new Error('no load runs');
  load.stop.abort();
  await Promise.all(load.workers);
  const { echoes, opened, errors } = load;
  load = undefined;
  return { echoes, opened, errors };
}

export const tcpVerbs = { serve, crowd, open, ask, push, hear, shut, transfer, startLoad, stopLoad };
