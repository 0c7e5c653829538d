// TLS options of a kubeconfig, checked before use: errors of OpenSSL do not name the entry or field that is wrong.
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { checkServerIdentity, createSecureContext, type ConnectionOptions } from 'node:tls';
import { messageOf, SluiceError } from '../../errors.ts';
import { at } from '../parse/reader.ts';
import { content, field, type Entry } from './kubeconfig.ts';

export type TlsOptions = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized' | 'checkServerIdentity'
>;

/** A client certificate and its key. */
export interface Identity {
  readonly cert: Buffer | string;
  readonly key: Buffer | string;
}

function wrong(entry: Entry, what: string): SluiceError {
  return new SluiceError('SLB_E_TLS', `${entry.name}: ${what}`);
}

export function serverTls(cluster: Entry): TlsOptions {
  const ca = content(cluster, 'certificate-authority');
  const insecure = at(cluster.place, 'insecure-skip-tls-verify').value === true;
  if (insecure && ca !== undefined)
    throw wrong(cluster, 'insecure-skip-tls-verify and certificate-authority are both set: remove one');
  return {
    ...(ca === undefined ? {} : { ca: checkedCa(cluster, ca) }),
    ...(insecure ? { rejectUnauthorized: false } : {}),
    ...serverName(cluster, field(cluster, 'tls-server-name')),
  };
}

export function checkedCa(cluster: Entry, ca: Buffer): Buffer {
  const blocks = ca.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g);
  try {
    if (blocks === null) throw new Error('it holds no PEM certificate');
    for (const block of blocks) new X509Certificate(block);
  } catch (cause) {
    throw wrong(cluster, `certificate-authority: ${messageOf(cause)}`);
  }
  return ca;
}

function serverName(cluster: Entry, name: string | undefined): TlsOptions {
  if (name === undefined) return {};
  if (isIP(name) !== 0) {
    // SNI cannot carry an address; the certificate is checked against it nevertheless.
    return { servername: '', checkServerIdentity: (_host, cert) => checkServerIdentity(name, cert) };
  }
  if (!/^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(name) || name.length > 253)
    throw wrong(cluster, `tls-server-name: ${JSON.stringify(name)} is neither a host name nor an address`);
  return { servername: name };
}

export function clientTls(user: Entry): TlsOptions {
  const cert = content(user, 'client-certificate');
  const key = content(user, 'client-key');
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined) throw wrong(user, 'client-key is set without a client-certificate: set both');
  if (key === undefined) throw wrong(user, 'client-certificate is set without a client-key: set both');
  return checkedIdentity({ cert, key }, user);
}

export function checkedIdentity({ cert, key }: Identity, user: Entry): Identity {
  const parts = [
    ['client-certificate', { cert }],
    ['client-key', { key }],
    ['client-certificate and client-key', { cert, key }],
  ] as const;
  for (const [what, options] of parts) {
    try {
      createSecureContext(options);
    } catch (cause) {
      throw wrong(user, `${what}: ${messageOf(cause)}`);
    }
  }
  return { cert, key };
}
