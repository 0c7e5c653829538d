// Whether the way to the API server leads over a proxy, as Go's httpproxy decides it for client-go.
import { BlockList, isIP } from 'node:net';
import { SluiceError } from '../../errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** `own`: the kubeconfig's proxy-url, which no NO_PROXY restricts. */
export function proxyFor(server: URL, own: string | undefined, env: Environment): URL | undefined {
  const read = (name: string): string => env[name] ?? '';
  const either = (name: string): string => read(name) || read(name.toLowerCase());
  const named = own ?? either(server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (named === '' || (own === undefined && isExcepted(server, either('NO_PROXY')))) return undefined;
  try {
    const url = new URL(named.includes('://') ? named : `http://${named}`);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  } catch {
    // Told below.
  }
  const where = own === undefined ? 'HTTPS_PROXY' : "the kubeconfig's proxy-url";
  throw new SluiceError('SLB_E_SOURCE', `${where}: only proxies at http:// and https:// URLs are supported`);
}

function isExcepted(server: URL, list: string): boolean {
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = server.port === '' ? (server.protocol === 'https:' ? '443' : '80') : server.port;
  // As Go: what is at this host itself never goes over a proxy.
  if (host === 'localhost' || /^127\./.test(host) || host === '::1') return true;
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && matches(entry, host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const [address = '', length] = entry.split('/');
  if (length !== undefined) return isIP(host) !== 0 && isInRange(host, address, Number(length));
  const [, name = entry, entryPort] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const plain = name.replace(/^\[|\]$/g, '');
  if (isIP(plain) !== 0) return plain === host;
  const suffix = plain.replace(/^\*?\./, '');
  return host.endsWith(`.${suffix}`) || (suffix === plain && host === plain);
}

function isInRange(host: string, address: string, length: number): boolean {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  const list = new BlockList();
  try {
    list.addSubnet(address, length, family);
  } catch {
    return false;
  }
  return isIP(host) === isIP(address) && list.check(host, family);
}
