// Text forms of sockets' addresses and of port ranges, both ways. Leaf, no dependencies.
import { isIP } from 'node:net';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * "127.0.0.1:9961", "[::]:10256", ":10256" (every address), "127.0.0.1" (default port, as kube-proxy takes it).
 * Only literal addresses and "localhost": a name server must not decide where a node agent listens.
 */
export function parseHostPort(text: string, defaultPort: number): HostPort | undefined {
  const whole = isIP(text) !== 0 ? { host: text, port: undefined } : splitPort(text);
  if (whole === undefined) return undefined;
  const host = whole.host === '' ? '::' : whole.host;
  if (host !== 'localhost' && isIP(host) === 0) return undefined;
  const port = whole.port ?? defaultPort;
  return port <= 65_535 ? { host, port } : undefined;
}

function splitPort(text: string): { host: string; port: number | undefined } | undefined {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(text);
  const match = bracketed ?? /^([^:]*)(?::(\d{1,5}))?$/.exec(text);
  if (match === null || text === '') return undefined;
  const [, host = '', port] = match;
  if (bracketed !== null && isIP(host) !== 6) return undefined;
  return { host, port: port === undefined ? undefined : Number(port) };
}

/** "1024-65535" → both ends; undefined when they are no ports or in the wrong order. */
export function parsePortRange(text: string): { min: number; max: number } | undefined {
  const [, min = NaN, max = NaN] = (/^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []).map(Number);
  return min >= 1 && min <= max && max <= 65_535 ? { min, max } : undefined;
}

/** Address and port in one word, IPv6 in brackets. */
export function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}
