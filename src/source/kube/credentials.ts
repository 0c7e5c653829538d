// Where the API server is, and who we are to it. Read anew for every request: tokens and certificates are rotated under
// us, and requests are rare (a watch lasts minutes).
import { existsSync, readFileSync } from 'node:fs';
import type { OutgoingHttpHeaders } from 'node:http';
import path from 'node:path';
import { messageOf, SluiceError } from '../../errors.ts';
import { at, isMapping, items, root } from '../parse/reader.ts';
import { systemClock, type Clock } from './clock.ts';
import { field, readKubeconfig, type Entry, type Kubeconfig } from './kubeconfig.ts';
import { Plugin } from './plugin.ts';
import { clientTls, serverTls, type TlsOptions } from './tls.ts';

export interface Access {
  readonly server: URL;
  readonly tls: TlsOptions;
  readonly headers: OutgoingHttpHeaders;
  /** The token in the headers, if there is one. */
  readonly token: string | undefined;
  /** The kubeconfig's own proxy; undefined: as the environment says. */
  readonly proxyUrl: string | undefined;
}

const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export class Credentials {
  readonly #file: string | undefined;
  readonly #plugin: Plugin;
  /** Of each token file what was read last: while it is being replaced it may be gone or empty. */
  readonly #tokens = new Map<string, string>();

  /** From a kubeconfig file, or, with none, from what Kubernetes gives every pod. */
  constructor(file: string | undefined, clock: Clock = systemClock) {
    this.#file = file;
    this.#plugin = new Plugin(clock);
  }

  async access(): Promise<Access> {
    const config = this.#file === undefined ? podConfig() : readKubeconfig(this.#file);
    const { cluster, user } = config;
    const isPlugin = isMapping(at(user.place, 'exec').value);
    if (isMapping(at(user.place, 'auth-provider').value))
      throw new SluiceError('SLB_E_CREDENTIALS', `${user.name}: auth-provider is not supported: use exec`);
    const printed = isPlugin ? await this.#plugin.credential(config) : undefined;
    const token = printed === undefined ? this.#token(user) : printed.token;
    return {
      server: serverOf(cluster),
      tls: { ...serverTls(cluster), ...clientTls(user), ...printed?.identity },
      headers: { ...authorization(user, token), ...impersonation(user) },
      token,
      proxyUrl: field(cluster, 'proxy-url'),
    };
  }

  /** The server has answered 401: what was used is not used again where another one can be had. */
  refused({ token }: Access): void {
    this.#plugin.refused(token);
  }

  stop(): void {
    this.#plugin.stop();
  }

  /** A file wins over a token in the kubeconfig, which is what it said when the kubeconfig was written. */
  #token(user: Entry): string | undefined {
    const name = field(user, 'tokenFile');
    if (name === undefined) return field(user, 'token');
    const file = path.resolve(user.folder, name);
    let reason = 'it is empty';
    try {
      const token = readFileSync(file, 'utf8').trim();
      if (token !== '') this.#tokens.set(file, token);
    } catch (error) {
      reason = messageOf(error);
    }
    const token = this.#tokens.get(file) ?? field(user, 'token');
    if (token === undefined)
      throw new SluiceError('SLB_E_CREDENTIALS', `${user.name}: tokenFile ${file}: ${reason}`);
    return token;
  }
}

function serverOf(cluster: Entry): URL {
  const server = field(cluster, 'server');
  if (server === undefined) throw new SluiceError('SLB_E_SOURCE', `${cluster.name}: no server is named`);
  const url = urlOf(server.includes('://') ? server : `https://${server}`);
  if (url === null || !['http:', 'https:'].includes(url.protocol))
    throw new SluiceError('SLB_E_SOURCE', `${cluster.name}: server ${server} is no http or https URL`);
  return url;
}

function urlOf(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function authorization(user: Entry, token: string | undefined): OutgoingHttpHeaders {
  if (token !== undefined) return { authorization: `Bearer ${token}` };
  const [name, password] = [field(user, 'username'), field(user, 'password')];
  if (name === undefined) return {};
  return { authorization: `Basic ${Buffer.from(`${name}:${password ?? ''}`).toString('base64')}` };
}

function impersonation(user: Entry): OutgoingHttpHeaders {
  const [name, uid] = [field(user, 'as'), field(user, 'as-uid')];
  const groups = items(at(user.place, 'as-groups')).map(({ value }) => String(value));
  return {
    ...(name === undefined ? {} : { 'impersonate-user': name }),
    ...(uid === undefined ? {} : { 'impersonate-uid': uid }),
    ...(groups.length === 0 ? {} : { 'impersonate-group': groups }),
  };
}

/** A kubeconfig of what every pod is given. */
function podConfig(): Kubeconfig {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = process.env;
  if (host === undefined || !existsSync(`${podFolder}/token`)) {
    throw new SluiceError(
      'SLB_E_SOURCE',
      'this is no pod with a service account: name a source with --kubeconfig FILE or --manifests DIR',
    );
  }
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const entry = (name: string, value: object): Entry => ({ name, place: root(value), folder: podFolder });
  return {
    cluster: entry('the pod', { server, 'certificate-authority': 'ca.crt' }),
    user: entry("the pod's service account", { tokenFile: 'token' }),
  };
}
