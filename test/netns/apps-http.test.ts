// nginx behind a service, and what is built to talk to it: with the socket hooks on, with them off, and with both in
// turn while connections live. The topology is drawn in test/support/lab/apps.ts.
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { downloadBytes, startWeb, webPort } from '../../examples/demo/web.ts';
import { Apps } from '../support/lab/apps.ts';
import { bothAddresses, echoService } from '../support/lab/echo.ts';
import type { Machine } from '../support/lab/lab.ts';
import { end } from '../support/run/process.ts';

t.setTimeout(300_000);
const apps = await Apps.start(t);
const { one, two } = apps;
for (const { child } of [await startWeb(one), await startWeb(two)]) t.teardown(() => end(child));
const web = echoService('web', 10);
apps.offer({ service: web, port: webPort, endpoints: bothAddresses([one, two]) });

const port = String(webPort);
const urls = [`http://${web.v4}:${port}`, `http://[${web.v6}]:${port}`];

/**
 * Requests that curl sends one after another; a line of each: the server, and how many connections it has opened for
 * it.
 */
async function curl(client: Machine, url: string, requests: number): Promise<string[]> {
  const each = Array.from({ length: requests }, () => `${url}/`);
  const { stdout } = await client.netns.run(['curl', '-sS', '-w', '%{num_connects}\n', ...each]);
  const words = stdout.trim().split('\n');
  return Array.from({ length: requests }, (_, i) => `${words[2 * i] ?? ''} ${words[2 * i + 1] ?? ''}`);
}

async function keepAlive(t: Test, client: Machine): Promise<void> {
  for (const url of urls) {
    const [first = '', ...rest] = await curl(client, url, 20);
    t.match(first, /^(one|two) 1$/, `${url}: a connection`);
    t.strictSame([...new Set(rest)], [first.replace(/1$/, '0')], 'which all other requests use');
  }
}

interface Benchmark {
  readonly complete: number;
  readonly failed: number;
  readonly otherStatus: number;
}

/** One connection a request, ten at a time. */
async function benchmark(client: Machine, url: string, requests: number): Promise<Benchmark> {
  // -l: the servers' names are of one length today; it is not an error when they are not.
  const command = ['ab', '-q', '-l', '-n', String(requests), '-c', '10', `${url}/`];
  const { stdout } = await client.netns.run(command, { mayFail: true });
  const number = (label: string): number => Number(new RegExp(`${label}: +(\\d+)`).exec(stdout)?.[1] ?? 0);
  return {
    complete: number('Complete requests'),
    failed: number('Failed requests'),
    otherStatus: number('Non-2xx responses'),
  };
}

async function manyShort(t: Test, client: Machine): Promise<void> {
  for (const url of urls)
    t.strictSame(await benchmark(client, url, 500), { complete: 500, failed: 0, otherStatus: 0 }, url);
}

/** Node asks the kernel for the peer of its sockets, and of each datagram. */
async function nodePeers(t: Test, client: Machine): Promise<void> {
  const program = `
    const socket = require('node:net').connect(Number(process.argv[2]), process.argv[1], () => {
      console.log(socket.remoteAddress, socket.remotePort);
      socket.destroy();
    });`;
  for (const host of [web.v4, web.v6, `::ffff:${web.v4}`]) {
    const { stdout } = await client.netns.run([process.execPath, '-e', program, host, port], {
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    t.equal(stdout, `${host} ${port}\n`);
  }
}

apps.everyUse(t, {
  'one connection for many requests (S-52, S-89)': keepAlive,
  'many short connections without a failure (S-52, S-83)': manyShort,
  'a program sees the service as its peer': nodePeers,
});

const stepBytes = 4 << 20;

/** A download that stands still between two steps; then one more request by the same connection. */
class Download {
  readonly url: string;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #ended: Promise<unknown[]>;
  readonly #body: Buffer[] = [];
  #said = '';

  constructor({ netns }: Machine, url: string) {
    this.url = url;
    const again = ['--next', '-sS', '-w', ' by %{num_connects} more connections', `${url}/`];
    const child = netns.spawn(['curl', '-sS', `${url}/download`, ...again], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#chunks = (child.stdout as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#ended = once(child, 'close');
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
  }

  async step(): Promise<void> {
    for (let left = stepBytes; left > 0;) {
      const taken = await this.#take();
      if (taken === 0) throw new Error(`the download has ended early: ${this.#said}`);
      left -= taken;
    }
  }

  async end(t: Test): Promise<void> {
    while ((await this.#take()) > 0);
    const all = Buffer.concat(this.#body);
    const last = all.subarray(downloadBytes).toString();
    t.strictSame([await this.#ended, this.#said], [[0, null], ''], `${this.url}: curl has no complaint`);
    t.match(last, /^(one|two)\n by 0 more connections$/, 'the connection is of use afterwards');
    t.ok(all.subarray(0, downloadBytes).equals(Buffer.alloc(downloadBytes, last.slice(0, 3))), 'every byte');
  }

  /** 0 at the end. */
  async #take(): Promise<number> {
    const next = await this.#chunks.next();
    if (next.done === true) return 0;
    this.#body.push(next.value);
    return next.value.length;
  }
}

/** Short connections, round after round, until what they are to outlast is over. */
async function besides(t: Test, change: Promise<void>): Promise<void> {
  let over = false;
  const done = change.finally(() => (over = true));
  const rounds = async (client: Machine): Promise<void> => {
    while (!over) {
      const found = await benchmark(client, urls[0]!, 100);
      t.strictSame(found, { complete: 100, failed: 0, otherStatus: 0 }, `from the ${client.name} meanwhile`);
    }
  };
  await Promise.all([done, ...apps.clients.map(rounds)]);
}

t.test('downloads and short connections outlast every change of the hooks (S-83, S-89, S-104)', async (t) => {
  const downloads: Download[] = [];
  const changes: readonly [string, () => Promise<void>][] = [
    ['on', () => apps.hooks('on')],
    ['off', () => apps.hooks('off')],
    ['on again', () => apps.hooks('on')],
    ['the agent dies', () => apps.crash()],
  ];
  await apps.hooks('off');
  for (const [what, change] of changes) {
    for (const client of apps.clients) for (const url of urls) downloads.push(new Download(client, url));
    for (const download of downloads) await download.step();
    t.comment(what);
    await besides(t, change());
  }
  for (const download of downloads) await download.end(t);
});
