// Packets as text, for comparing and for reading: every checksum on the way is verified.
//
//   10.0.0.1:40000 > 10.96.0.1:80 TCP S seq=1 ack=0 len=5
//
// A checksum that is wrong shows as "ip-sum!" or "tcp-sum!", one that a device is to finish as "tcp-sum~".
import { formatAddress } from '../../../src/net/ip.ts';
import { sctpChecksum } from './crc32c.ts';
import { protocols, pseudoHeader, sum16, tcpFlags } from './packet.ts';

interface Ip {
  readonly family: 4 | 6;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly protocol: number;
  readonly ttl: number;
  readonly offset: number; // of the fragment, in bytes
  readonly more: boolean;
  readonly notes: readonly string[];
  /** What is there of the payload, and how long the header says it is. */
  readonly payload: Uint8Array;
  readonly length: number;
}

const u16 = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
const extensions = new Set([0, 43, 44, 51, 60]);
const portedProtocols = new Set<number>([protocols.tcp, protocols.udp, protocols.sctp]);

function readIp4(bytes: Uint8Array): Ip {
  const header = ((bytes[0] ?? 0) & 15) * 4;
  const notes: string[] = [];
  if (sum16(bytes.subarray(0, header)) !== 0xffff) notes.push('ip-sum!');
  if (bytes.subarray(20, header).some((byte) => byte !== 0)) notes.push(`options=${header - 20}`);
  else if (header > 20) notes.push(`room=${header - 20}`);
  const length = u16(bytes, 2) - header;
  return {
    family: 4,
    src: bytes.subarray(12, 16),
    dst: bytes.subarray(16, 20),
    protocol: bytes[9] ?? 0,
    ttl: bytes[8] ?? 0,
    offset: (u16(bytes, 6) & 0x1fff) * 8,
    more: (u16(bytes, 6) & 0x2000) !== 0,
    notes,
    payload: bytes.subarray(header, header + length),
    length,
  };
}

function readIp6(bytes: Uint8Array): Ip {
  const notes: string[] = [];
  let next = bytes[6] ?? 0;
  let at = 40;
  let offset = 0;
  let more = false;
  while (extensions.has(next) && at + 8 <= bytes.length && offset === 0) {
    notes.push(`ext=${next}`);
    if (next === 44) {
      offset = u16(bytes, at + 2) & 0xfff8;
      more = (u16(bytes, at + 2) & 1) === 1;
    }
    const length = bytes[at + 1] ?? 0;
    const size = next === 44 ? 8 : next === 51 ? (length + 2) * 4 : (length + 1) * 8;
    next = bytes[at] ?? 0;
    at += size;
  }
  const length = u16(bytes, 4) + 40 - at;
  return {
    family: 6,
    src: bytes.subarray(8, 24),
    dst: bytes.subarray(24, 40),
    protocol: next,
    ttl: bytes[7] ?? 0,
    offset,
    more,
    notes,
    payload: bytes.subarray(at, at + length),
    length,
  };
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 16) return formatAddress(bytes);
  return [...bytes].join('.');
}

function endText(ip: Ip, side: 'src' | 'dst', port: number | undefined): string {
  const address = addressText(ip[side]);
  if (port === undefined) return address;
  return ip.family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Nothing is said of a checksum over bytes that are not there, as in what an ICMP error quotes. */
function sumNote(ip: Ip, name: string, check: number, pseudo: boolean): string[] {
  if (ip.payload.length < ip.length || ip.offset > 0 || ip.more) return [];
  const head = pseudo ? pseudoHeader(ip.src, ip.dst, ip.protocol, ip.length) : new Uint8Array(0);
  if (sum16(head, ip.payload) === 0xffff) return [];
  if (check === sum16(head)) return [`${name}-sum~`];
  return [`${name}-sum!`];
}

function tcpText(ip: Ip): string {
  const { payload } = ip;
  const flags = Object.entries(tcpFlags).filter(([, bit]) => ((payload[13] ?? 0) & bit) !== 0);
  const header = ((payload[12] ?? 0) >> 4) * 4;
  const notes = payload.length < 18 ? [] : sumNote(ip, 'tcp', u16(payload, 16), true);
  const parts =
    payload.length < 16
      ? ['TCP', `seq=${u32(payload, 4)}`]
      : [
          `TCP ${flags.map(([name]) => name).join('')}`,
          `seq=${u32(payload, 4)} ack=${u32(payload, 8)} len=${ip.length - header}`,
        ];
  return [...parts, ...notes].join(' ');
}

function udpText(ip: Ip): string {
  const check = u16(ip.payload, 6);
  const notes = check === 0 ? ['udp-sum=0'] : sumNote(ip, 'udp', check, true);
  return [`UDP len=${u16(ip.payload, 4) - 8}`, ...notes].join(' ');
}

function sctpText(ip: Ip): string {
  const { payload, length, offset, more } = ip;
  const parts = payload.length < 16 ? ['SCTP'] : [`SCTP chunk=${payload[12] ?? 0} len=${length - 16}`];
  if (payload.length < length || payload.length < 12 || offset > 0 || more) return parts.join(' ');
  const check = Buffer.from(payload).readUInt32LE(8);
  const notes = check === sctpChecksum(payload) ? [] : [check === 0 ? 'sctp-sum~' : 'sctp-sum!'];
  return [...parts, ...notes].join(' ');
}

function icmpText(ip: Ip): string {
  const { payload } = ip;
  const type = payload[0] ?? 0;
  const error = ip.family === 6 ? type < 128 : type === 3 || type === 11 || type === 12;
  const notes = sumNote(ip, 'icmp', u16(payload, 2), ip.family === 6);
  const rest = u32(payload, 4) === 0 ? [] : [`rest=${u32(payload, 4)}`];
  const quoted = error ? [`{ ${ipText(payload.subarray(8))} }`] : [];
  return [`ICMP ${type}/${payload[1] ?? 0}`, ...rest, ...notes, ...quoted].join(' ');
}

function ipText(bytes: Uint8Array): string {
  const ip = (bytes[0] ?? 0) >> 4 === 6 ? readIp6(bytes) : readIp4(bytes);
  const ported = portedProtocols.has(ip.protocol) && ip.offset === 0;
  const ends = ported
    ? `${endText(ip, 'src', u16(ip.payload, 0))} > ${endText(ip, 'dst', u16(ip.payload, 2))}`
    : `${endText(ip, 'src', undefined)} > ${endText(ip, 'dst', undefined)}`;
  const fragment = ip.offset > 0 || ip.more ? [`fragment=${ip.offset}${ip.more ? '+' : ''}`] : [];
  let transport = `protocol=${ip.protocol}`;
  if (ip.offset === 0 && ip.protocol === protocols.tcp) transport = tcpText(ip);
  if (ip.offset === 0 && ip.protocol === protocols.udp) transport = udpText(ip);
  if (ip.offset === 0 && ip.protocol === protocols.sctp) transport = sctpText(ip);
  if (ip.offset === 0 && ip.protocol === (ip.family === 4 ? protocols.icmp : protocols.icmp6))
    transport = icmpText(ip);
  return [ends, transport, ...ip.notes, ...fragment].join(' ');
}

/** One line for an Ethernet frame. */
export function show(frame: Uint8Array): string {
  let at = 12;
  const tags: string[] = [];
  while (u16(frame, at) === 0x8100 || u16(frame, at) === 0x88a8) {
    tags.push(`vlan=${u16(frame, at + 2) & 0xfff}`);
    at += 4;
  }
  const type = u16(frame, at);
  if (type !== 0x0800 && type !== 0x86dd) return [...tags, `ethertype=${type.toString(16)}`].join(' ');
  return [...tags, ipText(frame.subarray(at + 2))].join(' ');
}

export function macs(frame: Uint8Array): { readonly src: string; readonly dst: string } {
  const text = (bytes: Uint8Array): string =>
    [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
  return { src: text(frame.subarray(6, 12)), dst: text(frame.subarray(0, 6)) };
}
