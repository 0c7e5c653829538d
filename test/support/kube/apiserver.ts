// A real API server on a real etcd: started by a test, killed and started again by it, spoken to with real kubectl.
import { spawn, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { audited, auditPolicy, type AuditedRequest } from './audit.ts';
import { kubeBinaries } from './kubebin.ts';
import type { Netns } from '../actors/netns.ts';
import { ownFolder, sweepOnExit } from '../run/owner.ts';
import { end, isRunning, run, until } from '../run/process.ts';

const rbac = path.join(import.meta.dirname, '../../../deploy/rbac.yaml');
const adminToken = 'administrator';

export interface ApiServerOptions {
  /** Where server and kubectl run; without it, on the loopback of the machine. */
  readonly netns?: Netns;
}

/** Ports that were free a moment ago. They stay the server's own through its restarts. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.filter(({ listening }) => !listening).map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export class ApiServer {
  readonly folder: string;
  readonly #binaries: string;
  readonly #netns: Netns | undefined;
  readonly #ports: readonly number[];
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;

  private constructor(binaries: string, netns: Netns | undefined, ports: readonly number[]) {
    this.folder = ownFolder('kube');
    this.#binaries = binaries;
    this.#netns = netns;
    this.#ports = ports;
  }

  /** Resolves when the server is ready and knows the ServiceAccount and the ClusterRole of deploy/. */
  static async start({ netns }: ApiServerOptions = {}): Promise<ApiServer> {
    sweepOnExit();
    const server = new ApiServer(kubeBinaries(), netns, await freePorts(3));
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(server.#file('sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
    writeFileSync(server.#file('tokens.csv'), `${adminToken},admin,admin,"system:masters"\n`);
    writeFileSync(server.#file('audit-policy.yaml'), auditPolicy);
    server.#startEtcd();
    await server.startServer();
    await server.kubectl('apply', '-f', rbac);
    return server;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#ports[2] ?? 0}`;
  }

  /** Starts the server (again), on the same port and the same data. */
  async startServer(): Promise<void> {
    this.#server = this.#spawn('kube-apiserver.log', path.join(this.#binaries, 'kube-apiserver'), [
      `--etcd-servers=${this.#etcdUrl}`,
      `--secure-port=${this.#ports[2] ?? 0}`,
      '--bind-address=127.0.0.1',
      // No client looks for the server by its Service here, and a namespace has no address that could be found for it.
      '--advertise-address=192.0.2.1',
      '--endpoint-reconciler-type=none',
      `--cert-dir=${this.#file('certs')}`,
      '--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${this.#file('sa.key')}`,
      `--service-account-signing-key-file=${this.#file('sa.key')}`,
      `--token-auth-file=${this.#file('tokens.csv')}`,
      '--authorization-mode=RBAC',
      '--disable-admission-plugins=ServiceAccount',
      '--allow-privileged=true',
      `--audit-policy-file=${this.#file('audit-policy.yaml')}`,
      `--audit-log-path=${this.#file('audit.log')}`,
    ]);
    await this.#ready();
  }

  /** As a crash: no watch is ended in good order. */
  async killServer(): Promise<void> {
    if (this.#server !== undefined) await end(this.#server, 'SIGKILL');
  }

  async stop(): Promise<void> {
    if (this.#server !== undefined) await end(this.#server);
    if (this.#etcd !== undefined) await end(this.#etcd);
  }

  /** kubectl as the administrator. A last argument with line breaks is its input. */
  async kubectl(...args: readonly string[]): Promise<string> {
    return this.kubectlAs(adminToken, ...args);
  }

  async kubectlAs(token: string, ...args: readonly string[]): Promise<string> {
    const input = args.at(-1)?.includes('\n') === true ? args.at(-1) : undefined;
    const access = [`--server=${this.url}`, `--certificate-authority=${this.#ca}`, `--token=${token}`];
    const own = input === undefined ? args : args.slice(0, -1);
    const command = [path.join(this.#binaries, 'kubectl'), '--kubeconfig=/dev/null', ...access, ...own];
    const [file, rest] = this.#netns?.inside(command) ?? [command[0] ?? '', command.slice(1)];
    const env = { ...process.env, HOME: this.folder }; // its cache of what the server knows
    const { stdout } = await run([file, ...rest], { env, ...(input === undefined ? {} : { input }) });
    return stdout;
  }

  async apply(yaml: string): Promise<void> {
    await this.kubectl('apply', '-f', '-', `${yaml}\n`);
  }

  /** Objects with what their controllers would have written into the status, which clients cannot apply. */
  async applyWithStatus(objects: readonly object[]): Promise<void> {
    const list = (items: readonly object[]): string =>
      JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    await this.apply(list(objects));
    const told = objects.filter((object) => 'status' in object);
    await this.kubectl('replace', '--subresource=status', '-f', '-', `${list(told)}\n`);
  }

  /** A token of the ServiceAccount in deploy/: its holder may do what the ClusterRole says. */
  async agentToken(): Promise<string> {
    return (await this.kubectl('create', 'token', 'sluice', '--namespace=kube-system')).trim();
  }

  /** The kubeconfig of the agent under test: exactly the rights of deploy/rbac.yaml. */
  async agentKubeconfig(): Promise<string> {
    const file = this.#file('agent.kubeconfig');
    const config = {
      clusters: [{ name: 'test', cluster: { server: this.url, 'certificate-authority': this.#ca } }],
      users: [{ name: 'agent', user: { token: await this.agentToken() } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'agent' } }],
      'current-context': 'test',
    };
    writeFileSync(file, JSON.stringify(config));
    return file;
  }

  /** What the agent has asked of the server so far. */
  agentRequests(): readonly AuditedRequest[] {
    const file = this.#file('audit.log');
    return existsSync(file) ? audited(readFileSync(file, 'utf8')) : [];
  }

  /** Speaks to etcd itself: what no API client can do to the server's history. */
  async etcd(method: string, body: object): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.#etcdUrl}/v3/kv/${method}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`etcd ${method}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  }

  get #ca(): string {
    return this.#file('certs/apiserver.crt');
  }

  get #etcdUrl(): string {
    return `http://127.0.0.1:${this.#ports[0] ?? 0}`;
  }

  #file(name: string): string {
    return path.join(this.folder, name);
  }

  #startEtcd(): void {
    const peer = `http://127.0.0.1:${this.#ports[1] ?? 0}`;
    this.#etcd = this.#spawn('etcd.log', 'etcd', [
      `--data-dir=${this.#file('etcd')}`,
      ...[`--listen-client-urls=${this.#etcdUrl}`, `--advertise-client-urls=${this.#etcdUrl}`],
      ...[
        `--listen-peer-urls=${peer}`,
        `--initial-advertise-peer-urls=${peer}`,
        `--initial-cluster=default=${peer}`,
      ],
    ]);
  }

  async #ready(): Promise<void> {
    await until(
      'the API server',
      async () => {
        for (const child of [this.#etcd, this.#server]) {
          if (child === undefined || !isRunning(child))
            throw new Error(`no API server: ${this.#lastWords()}`);
        }
        return this.kubectl('get', '--raw', '/readyz').catch(() => undefined);
      },
      120_000,
    );
  }

  #lastWords(): string {
    const logs = ['etcd.log', 'kube-apiserver.log'].map((name) => this.#file(name)).filter(existsSync);
    return logs.map((file) => `\n${file}:\n${readFileSync(file, 'utf8').slice(-2000)}`).join('');
  }

  #spawn(logName: string, program: string, args: readonly string[]): ChildProcess {
    const log = openSync(this.#file(logName), 'a');
    const [file, rest] = this.#netns?.inside([program, ...args]) ?? [program, [...args]];
    const child = spawn(file, rest, { stdio: ['ignore', log, log], cwd: this.folder });
    closeSync(log);
    process.once('exit', () => child.kill('SIGKILL'));
    return child;
  }
}
