// gRPC without generated code: servers that tell their name, and clients whose channel stays open. Runs in a
// namespace of the lab, as a child of remote.ts.
import {
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type Client,
  type ClientDuplexStream,
  type ServerDuplexStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import { serve } from '../actors/remote.ts';

const method = (path: string, stream: boolean) => ({
  path: `/lab.Echo/${path}`,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: (text: string) => Buffer.from(text),
  requestDeserialize: (bytes: Buffer) => bytes.toString(),
  responseSerialize: (text: string) => Buffer.from(text),
  responseDeserialize: (bytes: Buffer) => bytes.toString(),
});

const definition = { say: method('Say', false), talk: method('Talk', true) } satisfies ServiceDefinition;

interface EchoClient extends Client {
  say(text: string, done: (error: Error | null, reply: string) => void): void;
  talk(): ClientDuplexStream<string, string>;
}
const EchoClient = makeGenericClientConstructor(definition, 'lab.Echo');

/** Every answer is "name: what was said". */
function listen({ port, name }: { port: number; name: string }): Promise<number> {
  const server = new Server();
  const implementation: UntypedServiceImplementation = {
    say: ({ request }: { request: string }, done: (error: null, reply: string) => void) =>
      done(null, `${name}: ${request}`),
    talk: (call: ServerDuplexStream<string, string>) => {
      call.on('data', (text: string) => call.write(`${name}: ${text}`));
      call.on('end', () => call.end());
    },
  };
  server.addService(definition, implementation);
  return new Promise((resolve, reject) => {
    server.bindAsync(`[::]:${String(port)}`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
}

interface Channel {
  readonly client: EchoClient;
  readonly stream: ClientDuplexStream<string, string>;
}
const channels = new Map<number, Channel>();
let serial = 0;

const channelOf = (id: number): Channel => {
  const channel = channels.get(id);
  if (channel === undefined) throw new Error(`no channel ${String(id)}`);
  return channel;
};

/** A channel of its own, hence a connection of its own, with a stream on it. */
function open({ target }: { target: string }): number {
  const options = { 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_http_proxy': 0 };
  const client = new EchoClient(target, credentials.createInsecure(), options) as unknown as EchoClient;
  channels.set(++serial, { client, stream: client.talk() });
  return serial;
}

function say({ id, text }: { id: number; text: string }): Promise<string> {
  const { client } = channelOf(id);
  return new Promise((resolve, reject) => {
    client.say(text, (error, reply) => (error === null ? resolve(reply) : reject(error)));
  });
}

/** By the stream that was opened with the channel: it never moves to another connection. */
async function talk({ id, text }: { id: number; text: string }): Promise<string> {
  const { stream } = channelOf(id);
  const reply = once(stream, 'data') as Promise<[string]>;
  stream.write(text);
  return (await reply)[0];
}

function close({ id }: { id: number }): void {
  const { client, stream } = channelOf(id);
  stream.end();
  client.close();
  channels.delete(id);
}

const verbs = { listen, open, say, talk, close };
export type GrpcVerbs = typeof verbs;
serve(verbs);
