// Credential plugins (client.authentication.k8s.io): programs that print credentials for the API server. One runs at a
// time, with a timeout; its output is used until it expires or the server refuses it.
import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { messageOf, SluiceError } from '../../errors.ts';
import { at, items, root, type Place } from '../parse/reader.ts';
import type { Clock } from './clock.ts';
import { content, field, type Entry, type Kubeconfig } from './kubeconfig.ts';
import { checkedIdentity, type Identity } from './tls.ts';

const runMs = 30_000;
const maxOutput = 1 << 20; // bytes
const maxError = 1 << 10;
const versions = ['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1'];

export interface Credential {
  readonly token: string | undefined;
  readonly identity: Identity | undefined;
  /** Milliseconds since the epoch; Infinity: until the server refuses it. */
  readonly expiresAt: number;
}

export class Plugin {
  readonly #clock: Clock;
  #cached: { readonly key: string; readonly credential: Credential } | undefined;
  #running: { readonly key: string; readonly credential: Promise<Credential> } | undefined;
  #child: ChildProcess | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The cached credential while it is valid, else the output of a new run. Rejects with SLB_E_CREDENTIALS. */
  async credential(config: Kubeconfig): Promise<Credential> {
    const command = commandOf(config);
    const key = JSON.stringify(command);
    if (this.#cached?.key === key && Date.now() < this.#cached.credential.expiresAt)
      return this.#cached.credential;
    if (this.#running?.key !== key) {
      const credential = this.#run(command, config.user).finally(() => (this.#running = undefined));
      this.#running = { key, credential };
    }
    const credential = await this.#running.credential;
    this.#cached = { key, credential };
    return credential;
  }

  /** The server refused this token. A newer one stays. */
  refused(token: string | undefined): void {
    if (this.#cached !== undefined && this.#cached.credential.token === token) this.#cached = undefined;
  }

  stop(): void {
    if (this.#child !== undefined) killGroup(this.#child);
  }

  async #run(command: Command, user: Entry): Promise<Credential> {
    const printed = await this.#output(command, user);
    let answer: unknown;
    try {
      answer = JSON.parse(printed);
    } catch (cause) {
      throw wrong(user, `${command.file} printed no JSON: ${messageOf(cause)}`);
    }
    return credentialOf(root(answer), command, user);
  }

  #output({ file, args, env }: Command, user: Entry): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      this.#child = child;
      let output = '';
      let error = '';
      const fail = (what: string): void => {
        killGroup(child);
        finish();
        reject(wrong(user, `${file} ${what}${error === '' ? '' : `: ${error.trim()}`}`));
      };
      const cancel = this.#clock.after(runMs, () => fail(`gave no answer within ${runMs / 1000} s`));
      const finish = (): void => {
        cancel();
        if (this.#child === child) this.#child = undefined;
        child.stdout.destroy();
        child.stderr.destroy();
      };
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.length > maxOutput) fail(`printed more than ${maxOutput} bytes`);
      });
      child.stderr
        .setEncoding('utf8')
        .on('data', (text: string) => (error = (error + text).slice(-maxError)));
      child.on('error', (cause) => fail(`could not be run: ${messageOf(cause)}`));
      child.on('close', (code, signal) => {
        if (code !== 0) return fail(`ended with ${signal ?? `exit code ${code}`}`);
        finish();
        resolve(output);
      });
    });
  }
}

/** The whole process group: children of a script may hold its output open. */
function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has exited already.
  }
}

interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly apiVersion: string;
}

function wrong(user: Entry, what: string): SluiceError {
  return new SluiceError('SLB_E_CREDENTIALS', `${user.name}: exec: ${what}`);
}

function commandOf({ cluster, user }: Kubeconfig): Command {
  const exec: Entry = { ...user, place: at(user.place, 'exec') };
  const command = field(exec, 'command');
  const apiVersion = field(exec, 'apiVersion') ?? '';
  if (command === undefined) throw wrong(user, 'command is missing');
  if (!versions.includes(apiVersion)) throw wrong(user, `apiVersion must be one of ${versions.join(', ')}`);
  const mode = field(exec, 'interactiveMode');
  if (mode === 'Always')
    throw wrong(user, 'interactiveMode Always needs a terminal: use Never or IfAvailable');
  if (mode === undefined && apiVersion === versions[0])
    throw wrong(user, 'interactiveMode must be Never or IfAvailable');
  const info = {
    apiVersion,
    kind: 'ExecCredential',
    spec: {
      interactive: false,
      ...(at(exec.place, 'provideClusterInfo').value === true ? { cluster: clusterInfo(cluster) } : {}),
    },
  };
  const own = items(at(exec.place, 'env')).map(({ value }) => {
    const entry: Entry = { ...user, place: root(value) };
    return [field(entry, 'name') ?? '', field(entry, 'value') ?? ''] as const;
  });
  return {
    // As in client-go: a name with a slash is relative to the kubeconfig, any other is looked up in PATH.
    file: command.includes('/') ? path.resolve(user.folder, command) : command,
    args: items(at(exec.place, 'args')).map(({ value }) => String(value)),
    env: { ...process.env, ...Object.fromEntries(own), KUBERNETES_EXEC_INFO: JSON.stringify(info) },
    apiVersion,
  };
}

function clusterInfo(cluster: Entry): object {
  const extensions = items(at(cluster.place, 'extensions'));
  const own = extensions.find((item) => at(item, 'name').value === 'client.authentication.k8s.io/exec');
  return {
    server: field(cluster, 'server'),
    'tls-server-name': field(cluster, 'tls-server-name'),
    'insecure-skip-tls-verify': at(cluster.place, 'insecure-skip-tls-verify').value === true || undefined,
    'certificate-authority-data': content(cluster, 'certificate-authority')?.toString('base64'),
    'proxy-url': field(cluster, 'proxy-url'),
    config: own === undefined ? undefined : at(own, 'extension').value,
  };
}

function credentialOf(answer: Place, { file, apiVersion }: Command, user: Entry): Credential {
  const status: Entry = { ...user, place: at(answer, 'status') };
  if (at(answer, 'kind').value !== 'ExecCredential') throw wrong(user, `${file} printed no ExecCredential`);
  if (at(answer, 'apiVersion').value !== apiVersion)
    throw wrong(user, `${file} answers by another apiVersion than ${apiVersion}`);
  const token = field(status, 'token');
  const [cert, key] = [field(status, 'clientCertificateData'), field(status, 'clientKeyData')];
  if ((cert === undefined) !== (key === undefined))
    throw wrong(user, `${file} printed a client certificate or its key without the other`);
  const identity =
    cert === undefined || key === undefined
      ? undefined
      : checkedIdentity({ cert, key }, { ...user, name: `${user.name}: exec: ${file}` });
  if (token === undefined && identity === undefined)
    throw wrong(user, `${file} printed neither a token nor a client certificate`);
  const expiry = field(status, 'expirationTimestamp');
  const expiresAt = expiry === undefined ? Infinity : Date.parse(expiry);
  if (Number.isNaN(expiresAt)) throw wrong(user, `${file}: expirationTimestamp ${expiry ?? ''} is no time`);
  return { token, identity, expiresAt };
}
