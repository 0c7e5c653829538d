// gRPC through a service: calls and streams on channels that live long, with the socket hooks on, with them off, and
// with both in turn. The topology is drawn in test/support/lab/apps.ts.
import t, { type Test } from 'tap';
import { Apps, settings } from '../support/lab/apps.ts';
import { bothAddresses, echoService } from '../support/lab/echo.ts';
import type { GrpcVerbs } from '../support/lab/grpcremote.ts';
import type { Machine } from '../support/lab/lab.ts';
import type { SliceEndpoint } from '../support/kube/manifests.ts';
import { Remote } from '../support/actors/remote.ts';

t.setTimeout(300_000);
const apps = await Apps.start(t);
const { one, two } = apps;
const module = new URL('../support/lab/grpcremote.ts', import.meta.url);
const port = 50_051;

async function remote({ netns }: Machine): Promise<Remote<GrpcVerbs>> {
  const started = await Remote.start<GrpcVerbs>(netns, module);
  t.teardown(() => started.kill());
  return started;
}

for (const machine of [one, two]) await (await remote(machine)).call('listen', { port, name: machine.name });
const clients = new Map<Machine, Remote<GrpcVerbs>>();
for (const client of apps.clients) clients.set(client, await remote(client));

const service = echoService('grpc', 10);
const targets = [`${service.v4}:${String(port)}`, `[${service.v6}]:${String(port)}`];
const both = bothAddresses([one, two]);

const offer = (endpoints: readonly SliceEndpoint[]): Promise<void> =>
  apps.settle({ service, port, endpoints });

class Channel {
  readonly #remote: Remote<GrpcVerbs>;
  readonly #id: number;
  readonly server: string;
  #turn = 0;

  private constructor(from: Remote<GrpcVerbs>, id: number, server: string) {
    this.#remote = from;
    this.#id = id;
    this.server = server;
  }

  static async open(from: Remote<GrpcVerbs>, target: string): Promise<Channel> {
    const id = await from.call('open', { target });
    const reply = await from.call('talk', { id, text: 'hello' });
    return new Channel(from, id, reply.split(':')[0] ?? '');
  }

  /** A call and a message of the stream: both by the connection that there was from the first. */
  async use(t: Test, when: string): Promise<void> {
    const text = `turn ${++this.#turn}`;
    for (const verb of ['say', 'talk'] as const) {
      const reply = await this.#remote.call(verb, { id: this.#id, text });
      t.equal(reply, `${this.server}: ${text}`, `${verb}, ${when}`);
    }
  }

  close(): Promise<void> {
    return this.#remote.call('close', { id: this.#id });
  }
}

/** So many of each client to each address of the service: enough that both servers have some. */
function openAll(count: number): Promise<Channel[]> {
  const each = [...clients.values()].flatMap((from) => targets.map((target) => ({ from, target })));
  const all = Array.from({ length: count }, () => each).flat();
  return Promise.all(all.map(({ from, target }) => Channel.open(from, target)));
}

const serversOf = (channels: readonly Channel[]): string[] =>
  [...new Set(channels.map(({ server }) => server))].sort();

async function useAll(t: Test, channels: readonly Channel[], when: string): Promise<void> {
  await Promise.all(channels.map((channel) => channel.use(t, when)));
}

async function closeAll(channels: readonly Channel[]): Promise<void> {
  await Promise.all(channels.map((channel) => channel.close()));
}

/** 24 connections: that all of them meet the same of two servers has a chance of 2^-23. */
const many = 6;

for (const setting of settings) {
  t.test(
    `channels outlive their endpoint, new ones go elsewhere; socket hooks ${setting} (S-34, S-83, S-89)`,
    (t) => {
      apps.offer({ service, port, endpoints: both });
      return apps.through(t, setting, async () => {
        await offer(both);
        const before = await openAll(many);
        t.strictSame(serversOf(before), ['one', 'two']);
        await offer(bothAddresses([two]));
        const after = await openAll(many);
        t.strictSame(serversOf(after), ['two'], 'one is gone');
        const terminating = { ready: false, serving: true, terminating: true };
        await offer([
          ...bothAddresses([one]),
          ...bothAddresses([two]).map((is) => ({ ...is, ...terminating })),
        ]);
        const last = await openAll(many);
        t.strictSame(serversOf(last), ['one'], 'two is terminating');
        const all = [...before, ...after, ...last];
        await useAll(t, all, 'wherever it went');
        await closeAll(all);
      });
    },
  );
}

t.test('channels live on while the hooks are switched (S-89, S-104)', async (t) => {
  await offer(both);
  const all: Channel[] = [];
  for (const setting of ['on', 'off', 'on'] as const) {
    await apps.hooks(setting);
    all.push(...(await openAll(2)));
    await useAll(t, all, setting);
  }
  await apps.crash();
  await useAll(t, all, 'after the agent died');
  await closeAll(all);
});
