// Text forms of address and port, and of port ranges. Leaf, no dependencies.
import { isIP } from 'node:net';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * "127.0.0.1:9961", "[::]:10256", ":10256" (every address), "127.0.0.1" (default port, as in kube-proxy).
 * Host names other than "localhost" are refused: DNS must not decide where a node agent listens.
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

/** "1024-65535" → both ends; undefined when one is no port, or they are in the wrong order. */
export function parsePortRange(text: string): { min: number; max: number } | undefined {
  const [, min = NaN, max = NaN] = (/^(\d{1,5})-(\d{1,5})$/.exec(text) ?? []).map(Number);
  return min >= 1 && min <= max && max <= 65_535 ? { min, max } : undefined;
}

/** "ADDRESS:PORT", with IPv6 addresses in brackets. */
export function joinHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${String(port)}` : `${host}:${String(port)}`;
}

/** The host of a URL, IPv6 without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/** The port of an http or https URL, with the default of its protocol. */
export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}
