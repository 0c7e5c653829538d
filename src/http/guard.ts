// Requests that a browser was talked into: by a page of another origin, or by a name that a page's owner has let point at
// this node (DNS rebinding). The API asks for no password, so it answers only who knows where it is talking to.
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { SluiceError } from '../errors.ts';
import { parseHostPort } from '../net/hostport.ts';

/** Throws SLB_E_ORIGIN for what the API must not answer. */
export function guard({ headers, socket }: IncomingMessage): void {
  // A unix socket has no address, and no browser speaks to one.
  if (socket.localAddress === undefined) return;
  const { host, origin } = headers;
  // HTTP/1.0 alone may leave it out, and no browser does.
  if (host !== undefined && !isOurs(host, isLoopback(socket.localAddress)))
    throw new SluiceError('SLB_E_ORIGIN', `Host "${host}" is not an address of this API`);
  if (origin !== undefined && origin !== `http://${host ?? ''}`)
    throw new SluiceError('SLB_E_ORIGIN', `Origin "${origin}" is another than this API's`);
}

/**
 * What came over loopback was meant for loopback. Elsewhere an address will do: no name server has a say in it, and where
 * addresses are translated on the way the client's is not the one that we see. The port may be that of a tunnel's end.
 */
function isOurs(host: string, overLoopback: boolean): boolean {
  const name = parseHostPort(host, 80)?.host;
  if (name === undefined) return false;
  if (name === 'localhost' || isLoopback(name)) return true;
  return !overLoopback && host !== '' && isIP(name) !== 0;
}

/** Of a socket for both families, IPv4 addresses begin with ::ffff: */
function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/i.test(address);
}
