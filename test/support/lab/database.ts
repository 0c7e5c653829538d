// A PostgreSQL server in a pod, and sessions of psql that stay open.
import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { startDaemon } from './daemon.ts';
import type { Machine } from './lab.ts';
import { ownFolder } from '../run/owner.ts';
import { end, run } from '../run/process.ts';

export const databasePort = 5432;
export const database = 'postgres';

/** The server does not run as root. */
const unprivileged = ['setpriv', '--reuid=65534', '--regid=nogroup', '--clear-groups', '--'];

/** Debian keeps the programs of each version apart, and outside of PATH. */
function programs(): string {
  const root = '/usr/lib/postgresql';
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : [];
  const [newest] = versions;
  if (newest === undefined) throw new Error(`${root} has no version: install postgresql`);
  return join(root, newest, 'bin');
}

/** Starts with nothing but its own tables, open to every client. */
export async function startDatabase(machine: Machine): Promise<void> {
  const folder = ownFolder('postgres');
  const bin = programs();
  await run(['chown', '65534:65534', folder]);
  const options = ['--auth=trust', '--username=postgres', '--encoding=UTF8', '--no-locale', '--no-sync'];
  await run([...unprivileged, join(bin, 'initdb'), '-D', join(folder, 'data'), ...options]);
  await run(['sh', '-c', 'printf "host all all all trust\\n" >> "$0"', join(folder, 'data/pg_hba.conf')]);
  const settings = ['listen_addresses=*', `unix_socket_directories=${folder}`, 'fsync=off'];
  const flags = settings.flatMap((setting) => ['-c', setting]);
  const server = [join(bin, 'postgres'), '-D', join(folder, 'data'), '-p', String(databasePort), ...flags];
  await startDaemon(machine, databasePort, [...unprivileged, ...server]);
}

const psql = (host: string): string[] => [
  ...['psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '-v', 'ON_ERROR_STOP=1'],
  ...['-h', host, '-p', String(databasePort), '-U', 'postgres', database],
];

/** One connection for one query. */
export async function query({ netns }: Machine, host: string, text: string): Promise<string> {
  return (await netns.run([...psql(host), '-c', text])).stdout.trim();
}

export class Session {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor({ netns }: Machine, host: string) {
    this.#child = netns.spawn(psql(host), { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('no stdout');
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** The rows that the statements give. */
  async do(statements: string): Promise<string[]> {
    this.#child.stdin?.write(`${statements}\n\\echo done\n`);
    const rows: string[] = [];
    for (let next = await this.#lines.next(); next.value !== 'done'; next = await this.#lines.next()) {
      if (next.done === true) throw new Error(`psql has ended at: ${statements}`);
      rows.push(next.value);
    }
    return rows;
  }

  close(): Promise<void> {
    return end(this.#child);
  }
}
