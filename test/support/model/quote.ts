// The packet that an ICMP error quotes, as far as it can be read.
import { addressAt, serviceProtocols, u16, type Read, type Tuple } from './read.ts';
import type { Quote } from './write.ts';

export type Quoted = Quote;

const v4Errors = new Set([3, 11, 12]); // unreachable, time exceeded, parameter problem
const v6Informational = 128;
const portsAndMore = 8; // what an error must quote behind the IP header

function isError(type: number, family: 4 | 6): boolean {
  return family === 6 ? type < v6Informational : v4Errors.has(type);
}

function quotedIp4(frame: Uint8Array, l3: number): { l4: number; proto: number } | undefined {
  const header = ((frame[l3] ?? 0) & 15) * 4;
  if (l3 + 20 > frame.length || (frame[l3] ?? 0) >> 4 !== 4 || header < 20) return undefined;
  if ((u16(frame, l3 + 6) & 0x1fff) !== 0) return undefined; // a later fragment has no ports
  return { l4: l3 + header, proto: frame[l3 + 9] ?? 0 };
}

function quotedIp6(frame: Uint8Array, l3: number): { l4: number; proto: number } | undefined {
  if (l3 + 40 > frame.length || (frame[l3] ?? 0) >> 4 !== 6) return undefined;
  return { l4: l3 + 40, proto: frame[l3 + 6] ?? 0 };
}

/** The verdict when there is nothing to translate. */
export function quoteIn(frame: Uint8Array, read: Read): Quoted | string {
  const { family, l4 } = read;
  if (read.fragment !== undefined) return 'NOT_OURS';
  if (l4 + 8 > frame.length || !isError(frame[l4] ?? 0, family)) return 'OTHER_PROTOCOL';
  const l3 = l4 + 8;
  const inner = family === 4 ? quotedIp4(frame, l3) : quotedIp6(frame, l3);
  if (inner === undefined || !serviceProtocols.has(inner.proto) || inner.l4 + portsAndMore > frame.length)
    return 'NOT_OURS';
  const [src, dst] = family === 4 ? [12, 16] : [8, 24];
  const tuple: Tuple = {
    proto: inner.proto,
    src: addressAt(frame, l3 + src, family),
    dst: addressAt(frame, l3 + dst, family),
    sport: u16(frame, inner.l4),
    dport: u16(frame, inner.l4 + 2),
  };
  return { l3, l4: inner.l4, tuple };
}
