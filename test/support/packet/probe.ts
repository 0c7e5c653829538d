// First packets of connections, and where they were sent.
import { ip } from './addresses.ts';
import { show } from './dissect.ts';

export const transports = ['tcp', 'udp'] as const;
export type Transport = (typeof transports)[number];

export interface Ask {
  readonly protocol?: Transport;
  readonly sport?: number;
  readonly flags?: string;
}

/** Numbers that both ends believe, in a connection without data whose ends both begin at 0. */
export function numbersOf(flags: string): { readonly seq: number; readonly ack: number } {
  return { seq: Number(!flags.includes('S')), ack: Number(flags.includes('A')) };
}

/** What opens a connection. */
export function ask(src: string, dst: string, dport: number, more: Ask = {}): Uint8Array {
  const { protocol = 'tcp', sport = 40000, flags = 'S' } = more;
  const packet = ip(src, dst);
  return protocol === 'tcp'
    ? packet.tcp({ sport, dport, flags, ...numbersOf(flags) }).bytes()
    : packet.udp({ sport, dport }).bytes();
}

/** The answer to what `ask` made, as the backend sends it. */
export function answer(
  from: string,
  sport: number,
  to: string,
  dport: number,
  protocol: Transport = 'tcp',
): Uint8Array {
  const packet = ip(from, to);
  return protocol === 'tcp'
    ? packet.tcp({ sport, dport, flags: 'SA', ...numbersOf('SA') }).bytes()
    : packet.udp({ sport, dport }).bytes();
}

interface Ends {
  readonly source: string;
  readonly target: string;
}

/** Both ends of a packet, as `end` in addresses.ts writes them. */
export function endsOf(packet: Uint8Array): Ends {
  const [, source = '', target = ''] = /^(\S+) > (\S+)/.exec(show(packet)) ?? [];
  return { source, target };
}

export const portOf = (text: string): number => Number(text.slice(text.lastIndexOf(':') + 1));
