// --api: the address of the agent, in the forms that curl and browsers accept.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { defaultApiHost, defaultApiPort } from '../config/defaults.ts';
import { messageOf, SluiceError } from '../errors.ts';
import { joinHostPort, parseHostPort, type HostPort } from '../net/hostport.ts';

const hostName = /^(?=.*[a-z])[a-z0-9]([-a-z0-9.]*[a-z0-9])?\.?$/i;
const forms = `use HOST:PORT, [ADDRESS]:PORT or http://HOST:PORT, such as ${joinHostPort(defaultApiHost, defaultApiPort)}`;

/** Parses "http://node-a:9961/", "[::1]:9961", "127.0.0.1", "9961" or ":9961". Throws SLB_E_USAGE for anything else. */
export function parseTarget(text: string): HostPort {
  if (text === '') throw new SluiceError('SLB_E_USAGE', `--api (or SLUICE_API_ADDRESS) is empty: ${forms}`);
  const place = /^http:\/\/([^/?#@]+)\/?$/i.exec(text)?.[1] ?? text;
  const target = /^:?\d{1,5}$/.test(place)
    ? parseHostPort(`${defaultApiHost}:${place.replace(':', '')}`, 0)
    : named(place);
  if (target === undefined || target.port === 0)
    throw new SluiceError('SLB_E_USAGE', `--api: "${text}" is no address: ${forms}`);
  return target;
}

function named(place: string): HostPort | undefined {
  const literal = parseHostPort(place, defaultApiPort);
  if (literal !== undefined) return { ...literal, host: hereOf(literal.host) };
  const [, host = '', port] = /^([^:[\]]+)(?::(\d{1,5}))?$/.exec(place) ?? [];
  const number = port === undefined ? defaultApiPort : Number(port);
  return hostName.test(host) && number <= 65_535 ? { host, port: number } : undefined;
}

/** An unspecified address, as in --api-address, means this host. */
function hereOf(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** Resolves a name: the guard of the API accepts only addresses in Host. Throws SLB_E_UNREACHABLE. */
export async function addressesOf({ host }: HostPort): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  try {
    return (await lookup(host, { all: true, order: 'ipv4first' })).map(({ address }) => address);
  } catch (cause) {
    throw new SluiceError('SLB_E_UNREACHABLE', `${host}: ${messageOf(cause)}`, { cause });
  }
}
