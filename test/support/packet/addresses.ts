// The addresses of packet tests, by family: one table of cases serves both.
import { eth, type Builder, type EthFields, type Ip4Fields, type Ip6Fields } from './packet.ts';
import { familyOf } from '../../../src/net/ip.ts';

export interface Addresses {
  readonly family: 4 | 6;
  readonly client: string;
  readonly other: string; // another client
  readonly vip: string; // a service address
  readonly vip2: string;
  readonly empty: string; // of a service without backends
  readonly one: string; // backends
  readonly two: string;
  readonly far: string; // a backend on another node
  readonly router: string; // in between
  readonly node: string; // this node's address, on its uplink
  readonly gateway: string; // the other one, on the device of its pods
  readonly loopback: string;
  readonly balancer: string; // service addresses outside the cluster
  readonly external: string;
}

export const bothFamilies: readonly Addresses[] = [
  {
    family: 4,
    client: '10.0.0.1',
    other: '10.0.0.2',
    vip: '10.96.0.1',
    vip2: '10.96.0.2',
    empty: '10.96.0.9',
    one: '10.1.0.1',
    two: '10.1.0.2',
    far: '10.2.0.1',
    router: '192.0.2.1',
    node: '192.0.2.2',
    gateway: '10.1.0.254',
    loopback: '127.0.0.1',
    balancer: '203.0.113.10',
    external: '198.51.100.10',
  },
  {
    family: 6,
    client: 'fd00::1',
    other: 'fd00::2',
    vip: 'fd96::1',
    vip2: 'fd96::2',
    empty: 'fd96::9',
    one: 'fd01::1',
    two: 'fd01::2',
    far: 'fd02::1',
    router: '2001:db8::1',
    node: '2001:db8::2',
    gateway: 'fd01::fe',
    loopback: '::1',
    balancer: '2001:db8:cb::10',
    external: '2001:db8:33::10',
  },
];

type Options = Omit<Ip4Fields, 'src' | 'dst'> & Omit<Ip6Fields, 'src' | 'dst' | 'length'>;

/** An IP packet in a frame, of the family that the addresses are of. */
export function ip(src: string, dst: string, options: Options = {}, frame: EthFields = {}): Builder {
  const fields = { src, dst, ...options };
  return familyOf(src) === 6 ? eth(frame).ip6(fields) : eth(frame).ip4(fields);
}

/** As a dissected packet writes an address with a port. */
export function end(address: string, port: number): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}
