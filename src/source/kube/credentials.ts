// Where the API server is, and who we are to it. Read anew for every request: tokens and certificates are rotated under
// us, and requests are rare (a watch lasts minutes).
import { existsSync, readFileSync } from 'node:fs';
import type { OutgoingHttpHeaders } from 'node:http';
import type { RequestOptions } from 'node:https';
import path from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { messageOf, SluiceError } from '../../errors.ts';
import { at, items, root, text } from '../parse/reader.ts';

export interface Access {
  readonly server: URL;
  /** CA, client certificate, headers: what a request needs besides its path. */
  readonly options: Omit<RequestOptions, 'headers'> & { readonly headers: OutgoingHttpHeaders };
  /** The way goes over a proxy: the agent in `options` knows it and ours does not. */
  readonly proxied: boolean;
}

export type Credentials = () => Promise<Access>;

/** From a kubeconfig file, or, with none, from what Kubernetes gives every pod. */
export function credentials(kubeconfig: string | undefined): Credentials {
  return async () => {
    const config = load(kubeconfig);
    const cluster = config.getCurrentCluster();
    if (cluster === null)
      throw new SluiceError('SLB_E_SOURCE', `${kubeconfig ?? 'the pod'} names no cluster`);
    const options: Access['options'] = { headers: {} };
    // Its parameter is typed as the options of a WebSocket library, which are these.
    await config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0]);
    return { server: new URL(cluster.server), options, proxied: cluster.proxyUrl !== undefined };
  };
}

function load(kubeconfig: string | undefined): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) loadFromPod(config);
    else loadFromFile(config, kubeconfig);
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause;
    throw new SluiceError('SLB_E_SOURCE', `kubeconfig ${kubeconfig ?? ''}: ${messageOf(cause)}`, { cause });
  }
  return config;
}

/** A token in a file of its own (kubeadm gives kube-proxy one) is the one thing that the package does not read. */
function loadFromFile(config: KubeConfig, file: string): void {
  config.loadFromFile(file);
  for (const user of items(at(root(parse(readFileSync(file, 'utf8'))), 'users'))) {
    const tokenFile = text(at(user, 'user', 'tokenFile'));
    if (tokenFile === undefined) continue;
    const token = readFileSync(path.resolve(path.dirname(file), tokenFile), 'utf8').trim();
    const name = text(at(user, 'name'));
    config.users = config.users.map((known) => (known.name === name ? { ...known, token } : known));
  }
}

const podToken = '/var/run/secrets/kubernetes.io/serviceaccount/token';

function loadFromPod(config: KubeConfig): void {
  if (process.env['KUBERNETES_SERVICE_HOST'] === undefined || !existsSync(podToken)) {
    throw new SluiceError(
      'SLB_E_SOURCE',
      'this is no pod with a service account: name a source with --kubeconfig FILE or --manifests DIR',
    );
  }
  config.loadFromCluster();
}
