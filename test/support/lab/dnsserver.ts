// DNS servers in pods, and programs that resolve names by them.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { Apps } from './apps.ts';
import { startDaemon } from './daemon.ts';
import { bothAddresses, echoService, type EchoService } from './echo.ts';
import type { Machine } from './lab.ts';
import { ownFolder } from '../run/owner.ts';
import { run } from '../run/process.ts';

export const dnsPort = 53;
/** The one host that the servers know. */
export const known = { name: 'web.lab', addresses: ['192.0.2.80', '2001:db8::80'] } as const;

/** Each server tells its own name as the text of who.lab. */
function startDns(machine: Machine): Promise<void> {
  return startDaemon(machine, dnsPort, [
    ...['dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--pid-file', '--log-facility=-'],
    ...['--user=root', '--group=root', '--no-resolv', '--no-hosts', `--port=${String(dnsPort)}`],
    `--host-record=${known.name},${known.addresses.join()}`,
    `--txt-record=who.lab,${machine.name}`,
  ]);
}

export interface DnsService extends EchoService {
  /** Whose text its answers have. */
  readonly server: string;
}

/** Services of two servers in turn; without an agent, until the first setting is made. */
export async function dnsServices(
  t: Test,
  count: number,
): Promise<{ apps: Apps; services: readonly DnsService[] }> {
  const apps = await Apps.start(t);
  const servers = [apps.one, apps.two];
  await Promise.all(servers.map(startDns));
  const services = Array.from({ length: count }, (_, i) => {
    const machine = servers[i % servers.length]!;
    const service = echoService(`dns${String(i)}`, 10 + i);
    apps.offer({ service, port: dnsPort, endpoints: bothAddresses([machine]) });
    return { ...service, server: machine.name };
  });
  return { apps, services };
}

/** Asks as dig does; its first line, the text that tells the server. */
export async function dig({ netns }: Machine, server: string, ...options: string[]): Promise<string> {
  const quick = ['+short', '+tries=1', '+time=8'];
  const { stdout } = await netns.run(['dig', ...options, `@${server}`, 'who.lab', 'TXT', ...quick], {
    mayFail: true,
  });
  return stdout.trim().replaceAll('"', '');
}

/**
 * One program, by C library: glibc connects its sockets, musl names the server with each datagram and looks who
 * answered.
 */
export async function resolvers(): Promise<Readonly<Record<'glibc' | 'musl', string>>> {
  const folder = ownFolder('resolve');
  const source = fileURLToPath(new URL('resolve.c', import.meta.url));
  const programs = { glibc: join(folder, 'glibc'), musl: join(folder, 'musl') };
  await run(['gcc', '-Wall', '-Werror', '-o', programs.glibc, source]);
  await run(['musl-gcc', '-Wall', '-Werror', '-static', '-o', programs.musl, source]);
  return programs;
}

/** Runs a program with a resolv.conf of its own. */
export class ResolvConf {
  readonly #file = join(ownFolder('resolv'), 'resolv.conf');

  constructor(servers: readonly string[], options: readonly string[] = []) {
    const lines = servers.map((server) => `nameserver ${server}\n`);
    writeFileSync(this.#file, [...lines, `options attempts:1 timeout:8 ${options.join(' ')}\n`].join(''));
  }

  /** The lines that it prints, sorted. */
  async run({ netns }: Machine, command: readonly string[]): Promise<string[]> {
    const mount = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';
    const { stdout } = await netns.run(['unshare', '-m', 'sh', '-c', mount, this.#file, ...command]);
    return stdout.trim().split('\n').sort();
  }
}
