// NFS without its daemons: servers are threads of the kernel, told by files what to export to which client, and
// mounts are made by mount(8) itself. Version 4 alone, which needs no other daemon.
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Machine } from './lab.ts';
import type { Netns } from '../actors/netns.ts';
import { ownFolder } from '../run/owner.ts';
import { run, type Ran } from '../run/process.ts';
import { familyOf } from '../../../src/net/ip.ts';

export const nfsPort = 2049;

/** Linux: NFSEXP_INSECURE_PORT, _ASYNC, _NOSUBTREECHECK, _FSID; root stays root. */
const exportFlags = 0x2 | 0x10 | 0x400 | 0x2000;
const never = 2 ** 31 - 1; // when what was told expires
/**
 * A server gives the clients of its predecessor so long to come back before it opens files for others; the least
 * there is.
 */
const graceSec = 10;

async function loadModule(name: string): Promise<void> {
  await run(['modprobe', name]);
}

/** A folder that can be exported, whatever the machine's own file systems are. */
export async function makeExport(t: Test): Promise<string> {
  const folder = ownFolder('export');
  await run(['mount', '-t', 'tmpfs', 'tmpfs', folder]);
  t.teardown(() => run(['umount', '--lazy', folder], { mayFail: true }));
  return folder;
}

async function addressesOf(netns: Netns): Promise<string[]> {
  const devices = await netns.ipJson<{ addr_info: { local: string }[] }[]>('addr show');
  return devices.flatMap(({ addr_info: addresses }) => addresses.map(({ local }) => local));
}

export class NfsServer {
  readonly machine: Machine;
  /** Where its files are mounted: those of its network namespace. The threads end with the mount. */
  readonly #files = ownFolder('nfsd');
  #runs = false;

  private constructor(machine: Machine) {
    this.machine = machine;
  }

  /** For every address of the clients. */
  static async start(
    t: Test,
    machine: Machine,
    folder: string,
    clients: readonly Machine[],
  ): Promise<NfsServer> {
    await loadModule('nfsd');
    const server = new NfsServer(machine);
    t.teardown(() => server.close());
    await server.#start(folder, clients);
    return server;
  }

  async #start(folder: string, clients: readonly Machine[]): Promise<void> {
    await this.machine.netns.run(['mount', '-t', 'nfsd', 'nfsd', this.#files]);
    this.#runs = true;
    const addresses = (await Promise.all(clients.map((client) => addressesOf(client.netns)))).flat();
    await this.#tell([
      'echo "-2 -3 +4 +4.1 +4.2" > versions || echo "-3 +4 +4.1 +4.2" > versions', // newer kernels have no version 2
      ...addresses.map(
        (address) => `echo "nfsd ${address} ${String(never)} clients" > /proc/net/rpc/auth.unix.ip/channel`,
      ),
      `echo "clients ${folder} ${String(never)} ${String(exportFlags)} 65534 65534 0" > /proc/net/rpc/nfsd.export/channel`,
      `echo "clients 1 \\\\x00000000 ${String(never)} ${folder}" > /proc/net/rpc/nfsd.fh/channel`,
      ...['nfsv4leasetime', 'nfsv4gracetime'].map((file) => `echo ${String(graceSec)} > ${file}`),
      `echo "tcp ${String(nfsPort)}" > portlist`,
      'echo 2 > threads',
    ]);
  }

  /** Its connections end with it. */
  async close(): Promise<void> {
    if (!this.#runs) return;
    this.#runs = false;
    await this.#tell(['echo 0 > threads']);
    await run(['umount', '--lazy', this.#files]);
  }

  async #tell(lines: readonly string[]): Promise<void> {
    await this.machine.netns.run(['sh', '-ec', [`cd ${this.#files}`, ...lines].join('\n')]);
  }
}

/** Commands about a mount whose server does not answer would wait for ever. */
const patient = ['timeout', '--signal=KILL', '120'];

export class NfsMount {
  readonly #netns: Netns;
  readonly folder: string;

  private constructor(netns: Netns, folder: string) {
    this.#netns = netns;
    this.folder = folder;
  }

  /** Of the server at that address, as seen from the machine. */
  static async make(t: Test, { netns, v4, v6 }: Machine, host: string): Promise<NfsMount> {
    await loadModule('nfsv4');
    const mount = new NfsMount(netns, ownFolder('mount'));
    const six = familyOf(host) === 6;
    const options = [
      `vers=4.1,hard,timeo=20,retrans=1,port=${String(nfsPort)}`,
      `proto=${six ? 'tcp6' : 'tcp'},addr=${host},clientaddr=${six ? v6 : v4}`,
    ].join();
    const what = `${six ? `[${host}]` : host}:/`;
    await mount.#run(['mount', '-i', '-t', 'nfs4', '-o', options, what, mount.folder]);
    t.teardown(() => mount.#close());
    return mount;
  }

  async write(file: string, text: string): Promise<void> {
    await this.#run(['sh', '-c', 'printf %s "$1" > "$0"', join(this.folder, file), text]);
  }

  async read(file: string): Promise<string> {
    return (await this.#run(['cat', join(this.folder, file)])).stdout;
  }

  async #close(): Promise<void> {
    const { code } = await this.#netns.run([...patient, 'umount', this.folder], { mayFail: true });
    if (code !== 0) await this.#netns.run([...patient, 'umount', '--force', '--lazy', this.folder]);
  }

  #run(command: readonly string[]): Promise<Ran> {
    return this.#netns.run([...patient, ...command]);
  }
}
