// Cross-site requests and DNS rebinding: a page of another origin, or a name that resolves to this node, must not make
// a browser read the API, which does not authenticate. Host and Origin have to be an address of this API.
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { SluiceError } from '../errors.ts';
import { parseHostPort } from '../net/hostport.ts';

/** Throws SLB_E_ORIGIN, which is answered with 403. */
export function guard({ headers, socket }: IncomingMessage): void {
  // A unix socket has no address, and browsers do not connect to one.
  if (socket.localAddress === undefined) return;
  const { host, origin } = headers;
  // Only HTTP/1.0 clients may leave out Host; browsers never do.
  if (host !== undefined && !isOurs(host, isLoopback(socket.localAddress)))
    throw new SluiceError('SLB_E_ORIGIN', `Host "${host}" is not an address of this API`);
  if (origin !== undefined && origin !== `http://${host ?? ''}`)
    throw new SluiceError('SLB_E_ORIGIN', `Origin "${origin}" is not the origin of this API`);
}

/**
 * Over loopback only loopback names are accepted. Elsewhere any literal address is: DNS cannot forge it, and behind
 * DNAT the client uses another address than the one seen here. Any port is accepted, because of port forwarding.
 */
function isOurs(host: string, overLoopback: boolean): boolean {
  const name = parseHostPort(host, 80)?.host;
  if (name === undefined) return false;
  if (name === 'localhost' || isLoopback(name)) return true;
  return !overLoopback && host !== '' && isIP(name) !== 0;
}

/** A socket for both families shows IPv4 as ::ffff:a.b.c.d. */
function isLoopback(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/i.test(address);
}
