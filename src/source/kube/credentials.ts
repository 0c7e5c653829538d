// Address and credentials of the API server. Read again for every request: tokens and certificates are rotated, and
// requests are rare (a watch lasts minutes).
import { existsSync, readFileSync } from 'node:fs';
import type { OutgoingHttpHeaders } from 'node:http';
import path from 'node:path';
import { messageOf, SluiceError } from '../../errors.ts';
import { joinHostPort } from '../../net/hostport.ts';
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
  /** proxy-url of the kubeconfig; undefined: from the environment. */
  readonly proxyUrl: string | undefined;
}

const podFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export class Credentials {
  readonly #file: string | undefined;
  readonly #plugin: Plugin;
  /** The last token of each token file, which may be missing or empty while it is being replaced. */
  readonly #tokens = new Map<string, string>();

  /** From a kubeconfig file; undefined: from the service account of the pod. */
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

  /** The server has answered 401: a plugin is run again for the next request. */
  refused({ token }: Access): void {
    this.#plugin.refused(token);
  }

  stop(): void {
    this.#plugin.stop();
  }

  /** tokenFile wins over token, which is the older one. */
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
  if (server === undefined) throw new SluiceError('SLB_E_SOURCE', `${cluster.name}: server is missing`);
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

/** A kubeconfig made from the environment and the service account of the pod. */
function podConfig(): Kubeconfig {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = process.env;
  if (host === undefined || !existsSync(`${podFolder}/token`)) {
    throw new SluiceError(
      'SLB_E_SOURCE',
      'not running in a pod with a service account: use --kubeconfig FILE or --manifests DIR',
    );
  }
  const server = `https://${joinHostPort(host, Number(port))}`;
  const entry = (name: string, value: object): Entry => ({ name, place: root(value), folder: podFolder });
  return {
    cluster: entry('the pod', { server, 'certificate-authority': 'ca.crt' }),
    user: entry("the pod's service account", { tokenFile: 'token' }),
  };
}
