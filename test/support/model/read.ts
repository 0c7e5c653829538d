// The model's own reading of a frame, by the RFCs: what is in it, or why it is not looked at.
import { formatAddress } from '../../../src/net/ip.ts';

export interface Tuple {
  readonly proto: number;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
}

export interface Fragment {
  readonly first: boolean;
  readonly later: boolean;
  readonly id: number;
}

export interface Read extends Tuple {
  readonly family: 4 | 6;
  readonly l3: number; // offsets
  readonly l4: number;
  readonly ipLength: number;
  readonly fragment: Fragment | undefined;
  readonly tcpFlags: number; // of SCTP what its first chunk would be in TCP
  /** Of a later fragment: it goes the way of its first one, by the stack. */
  readonly split?: boolean;
  readonly seq: number; // of SCTP the initiate tag, of chunks that have one
  readonly ack: number; // of SCTP the verification tag
}

export type Unread = 'NOT_IP' | 'DROP_MALFORMED' | 'OTHER_PROTOCOL';

export const numbers = { icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 } as const;
export const bits = { fin: 1, syn: 2, rst: 4, ack: 16 } as const;
/** Protocols with connections of their own, which flags tell of. */
export const isConnected = (proto: number): boolean => proto === numbers.tcp || proto === numbers.sctp;

export const tupleOf = ({ proto, src, sport, dst, dport }: Read): Tuple => ({
  proto,
  src,
  sport,
  dst,
  dport,
});
export const hasAll = ({ tcpFlags, proto }: Read, flags: number): boolean =>
  isConnected(proto) && (tcpFlags & flags) === flags;
export const opens = ({ tcpFlags }: Read): boolean =>
  (tcpFlags & (bits.syn | bits.ack | bits.rst)) === bits.syn;

const ethernet = 14;
const tagTypes = new Set([0x8100, 0x88a8]);
const maxTags = 2;
const extensions = new Set([0, 43, 44, 51, 60]);
const maxExtensions = 6;
const farthestTransport = 0x1ff; // from the frame's beginning

export const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
export const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);

export function addressAt(bytes: Uint8Array, at: number, family: 4 | 6): string {
  const part = bytes.subarray(at, at + (family === 4 ? 4 : 16));
  return family === 4 ? [...part].join('.') : formatAddress(part);
}

export function tupleText({ proto, src, sport, dst, dport }: Tuple): string {
  return `${String(proto)} ${src} ${String(sport)} > ${dst} ${String(dport)}`;
}

export function reversed({ proto, src, sport, dst, dport }: Tuple): Tuple {
  return { proto, src: dst, sport: dport, dst: src, dport: sport };
}

/** Where the IP header is; a frame needs room for a tag even to be told from a tagged one. */
function readEthernet(frame: Uint8Array): { readonly l3: number; readonly type: number } | Unread {
  let type = u16(frame, 12);
  let l3 = ethernet;
  for (let tags = 0; tags < maxTags; tags++) {
    if (l3 + 4 > frame.length) return tagTypes.has(type) ? 'DROP_MALFORMED' : 'NOT_IP';
    if (!tagTypes.has(type)) continue;
    type = u16(frame, l3 + 2);
    l3 += 4;
  }
  return type === 0x0800 || type === 0x86dd ? { l3, type } : 'NOT_IP';
}

type Network = Omit<Read, 'sport' | 'dport' | 'tcpFlags' | 'seq' | 'ack'>;

function readIp4(frame: Uint8Array, l3: number): Network | Unread {
  if (l3 + 20 > frame.length) return 'DROP_MALFORMED';
  const header = ((frame[l3] ?? 0) & 15) * 4;
  if ((frame[l3] ?? 0) >> 4 !== 4 || header < 20) return 'DROP_MALFORMED';
  const ipLength = u16(frame, l3 + 2) === 0 ? frame.length - l3 : u16(frame, l3 + 2);
  if (ipLength < header || ipLength > frame.length - l3) return 'DROP_MALFORMED';
  const offset = u16(frame, l3 + 6) & 0x1fff;
  const more = (u16(frame, l3 + 6) & 0x2000) !== 0;
  return {
    family: 4,
    l3,
    l4: l3 + header,
    ipLength,
    proto: frame[l3 + 9] ?? 0,
    src: addressAt(frame, l3 + 12, 4),
    dst: addressAt(frame, l3 + 16, 4),
    fragment: fragmentOf(offset, more, u16(frame, l3 + 4)),
  };
}

function fragmentOf(offset: number, more: boolean, id: number): Fragment | undefined {
  return offset === 0 && !more ? undefined : { first: offset === 0, later: offset > 0, id };
}

interface Chain {
  readonly l4: number;
  readonly proto: number;
  readonly fragment: Fragment | undefined;
}

function readExtensions(frame: Uint8Array, l3: number): Chain | Unread {
  let proto = frame[l3 + 6] ?? 0;
  let l4 = l3 + 40;
  let fragment: Fragment | undefined;
  for (let count = 0; count < maxExtensions && extensions.has(proto); count++) {
    if (fragment?.later === true) break; // behind it is the middle of a payload
    if (l4 + 8 > frame.length) return 'DROP_MALFORMED';
    const length = frame[l4 + 1] ?? 0;
    const size = proto === 44 ? 8 : proto === 51 ? (length + 2) * 4 : (length + 1) * 8;
    if (proto === 44)
      fragment = fragmentOf(u16(frame, l4 + 2) >> 3, (u16(frame, l4 + 2) & 1) === 1, u32(frame, l4 + 4));
    proto = frame[l4] ?? 0;
    l4 += size;
    if (l4 > farthestTransport) return 'DROP_MALFORMED';
  }
  return { l4, proto, fragment };
}

function readIp6(frame: Uint8Array, l3: number): Network | Unread {
  if (l3 + 40 > frame.length || (frame[l3] ?? 0) >> 4 !== 6) return 'DROP_MALFORMED';
  const chain = readExtensions(frame, l3);
  if (typeof chain === 'string') return chain;
  const stated = u16(frame, l3 + 4);
  const ipLength = stated === 0 ? frame.length - l3 : stated + 40;
  if (ipLength < chain.l4 - l3 || ipLength > frame.length - l3) return 'DROP_MALFORMED';
  return {
    ...chain,
    family: 6,
    l3,
    ipLength,
    src: addressAt(frame, l3 + 8, 6),
    dst: addressAt(frame, l3 + 24, 6),
  };
}

/** Where a packet goes that cannot be read further; undefined when not even that can be told. */
export function destinationOf(frame: Uint8Array): string | undefined {
  const link = readEthernet(frame);
  if (typeof link === 'string') return undefined;
  const { l3, type } = link;
  const [family, header, dst] = type === 0x0800 ? ([4, 20, 16] as const) : ([6, 40, 24] as const);
  if (l3 + header > frame.length || (frame[l3] ?? 0) >> 4 !== family) return undefined;
  if (family === 4 && ((frame[l3] ?? 0) & 15) < 5) return undefined;
  return addressAt(frame, l3 + dst, family);
}

/**
 * RFC 9260: INIT, INIT ACK, ABORT, SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE; whatever else belongs to an
 * association.
 */
function chunkAsFlags(type: number): number {
  const { syn, ack, rst, fin } = bits;
  if (type === 1) return syn;
  if (type === 2) return syn | ack;
  if (type === 6 || type === 14) return rst;
  return type === 7 || type === 8 ? fin | ack : ack;
}

function flagsOf(frame: Uint8Array, { proto, l4 }: Network): number {
  if (proto === numbers.tcp) return frame[l4 + 13] ?? 0;
  return proto === numbers.sctp ? chunkAsFlags(frame[l4 + 12] ?? 0) : 0;
}

/** What a segment says to show that it belongs to its connection. */
function proofOf(frame: Uint8Array, { proto, l4 }: Network, tcpFlags: number): Pick<Read, 'seq' | 'ack'> {
  if (proto === numbers.tcp) return { seq: u32(frame, l4 + 4), ack: u32(frame, l4 + 8) };
  if (proto !== numbers.sctp) return { seq: 0, ack: 0 };
  const tagged = (tcpFlags & bits.syn) !== 0 && l4 + 20 <= frame.length;
  return { seq: tagged ? u32(frame, l4 + 16) : 0, ack: u32(frame, l4 + 4) };
}

/** Bytes of the transport header, or -1 when it is none. */
function headerSize(frame: Uint8Array, { l4, proto }: Network): number {
  if (proto === numbers.udp) return 8;
  if (proto === numbers.sctp) return 16; // with the header of its first chunk
  if (l4 + 20 > frame.length) return -1;
  const words = (frame[l4 + 12] ?? 0) >> 4;
  return words < 5 ? -1 : words * 4;
}

export const serviceProtocols: ReadonlySet<number> = new Set([numbers.tcp, numbers.udp, numbers.sctp]);

export function readFrame(frame: Uint8Array): Read | Unread {
  const link = readEthernet(frame);
  if (typeof link === 'string') return link;
  const network = link.type === 0x0800 ? readIp4(frame, link.l3) : readIp6(frame, link.l3);
  if (typeof network === 'string') return network;
  const { family, proto, l3, l4, ipLength, fragment } = network;
  const bare = { ...network, sport: 0, dport: 0, tcpFlags: 0, seq: 0, ack: 0 };
  if (!serviceProtocols.has(proto))
    return proto === (family === 4 ? numbers.icmp : numbers.icmp6) ? bare : 'OTHER_PROTOCOL';
  if (fragment?.later === true) return bare;
  const size = headerSize(frame, network);
  const fixed = proto === numbers.tcp ? 20 : size;
  if (size < 0 || l4 + fixed > frame.length || l4 - l3 + size > ipLength) return 'DROP_MALFORMED';
  const tcpFlags = flagsOf(frame, network);
  const proof = proofOf(frame, network, tcpFlags);
  return { ...bare, sport: u16(frame, l4), dport: u16(frame, l4 + 2), tcpFlags, ...proof };
}
