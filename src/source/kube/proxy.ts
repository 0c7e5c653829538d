// The HTTP proxy for the API server, chosen as by Go's golang.org/x/net/http/httpproxy, which client-go uses.
import { isIP } from 'node:net';
import { SluiceError } from '../../errors.ts';
import { canonicalCidr, cidrContains } from '../../net/cidr.ts';
import { canonicalAddress, isLoopback } from '../../net/ip.ts';
import { hostOf, portOf } from '../../net/hostport.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** `own`: proxy-url of the kubeconfig, which NO_PROXY does not restrict. Throws SLB_E_SOURCE for an invalid URL. */
export function proxyFor(server: URL, own: string | undefined, env: Environment): URL | undefined {
  const read = (name: string): string => env[name] ?? '';
  const either = (name: string): string => read(name) || read(name.toLowerCase());
  const named = own ?? either(server.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY');
  if (named === '' || (own === undefined && isExcepted(server, either('NO_PROXY')))) return undefined;
  try {
    const url = new URL(named.includes('://') ? named : `http://${named}`);
    if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  } catch {
    // The error is thrown below.
  }
  const where = own === undefined ? 'HTTPS_PROXY' : "the kubeconfig's proxy-url";
  throw new SluiceError('SLB_E_SOURCE', `${where}: only proxies at http:// and https:// URLs are supported`);
}

function isExcepted(server: URL, list: string): boolean {
  const host = hostOf(server).toLowerCase();
  const port = String(portOf(server));
  // As in Go: connections to this host never use a proxy.
  if (host === 'localhost' || isLoopback(host)) return true;
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && matches(entry, host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return isInRange(host, entry);
  const [, name = entry, entryPort] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const plain = name.replace(/^\[|\]$/g, '');
  if (isIP(plain) !== 0) return plain === host;
  const suffix = plain.replace(/^\*?\./, '');
  return host.endsWith(`.${suffix}`) || (suffix === plain && host === plain);
}

function isInRange(host: string, entry: string): boolean {
  const [range, address] = [canonicalCidr(entry), canonicalAddress(host)];
  return range !== undefined && address !== undefined && cidrContains(range, address);
}
