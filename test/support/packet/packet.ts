// Packets for tests: built layer by layer, with lengths and checksums filled in from the inside out.
//
//   eth().ip4({ src: '10.0.0.1', dst: '10.96.0.1' }).tcp({ sport: 40000, dport: 80, flags: 'S' }).payload('hello')
//
// Whatever a test wants wrong it says: every field may be set. What comes back is read by dissect.ts.
import { parseAddress } from '../../../src/net/ip.ts';
import { sctpChecksum } from './crc32c.ts';

export type Checksum = 'full' | 'partial' | 'none' | number;

export interface EthFields {
  readonly src?: string;
  readonly dst?: string;
  readonly type?: number;
}

export interface Ip4Fields {
  readonly src: string;
  readonly dst: string;
  readonly ttl?: number;
  readonly id?: number;
  readonly options?: Uint8Array; // a multiple of 4 bytes
  readonly fragment?: number; // offset in bytes
  readonly more?: boolean; // more fragments
  readonly dontFragment?: boolean;
  readonly protocol?: number;
  readonly length?: number;
  readonly version?: number;
  readonly ihl?: number;
}

export interface Ip6Fields {
  readonly src: string;
  readonly dst: string;
  readonly hops?: number;
  readonly extensions?: readonly Extension[];
  readonly protocol?: number;
  readonly length?: number; // of the payload
  readonly version?: number;
}

export interface Extension {
  readonly type: number; // 0 hop-by-hop, 43 routing, 44 fragment, 51 authentication, 60 destination
  readonly body?: Uint8Array; // behind next header and length
}

export interface TcpFields {
  readonly sport: number;
  readonly dport: number;
  readonly flags?: string; // of "FSRPA"
  readonly seq?: number;
  readonly ack?: number;
  readonly window?: number;
  readonly options?: Uint8Array; // a multiple of 4 bytes
  readonly checksum?: Checksum;
  readonly doff?: number;
}

export interface UdpFields {
  readonly sport: number;
  readonly dport: number;
  readonly checksum?: Checksum;
}

export interface SctpFields {
  readonly sport: number;
  readonly dport: number;
  /** Type of the first chunk, which holds the payload. */
  readonly chunk?: number;
  readonly tag?: number;
  /** 'partial' as for the others: what a local sender leaves for a device to finish. */
  readonly checksum?: Checksum;
}

export interface IcmpFields {
  readonly type: number;
  readonly code?: number;
  readonly rest?: number; // next-hop MTU, identifier …
  readonly checksum?: Checksum;
}

export interface Builder {
  vlan(id: number, type?: number): Builder;
  ip4(fields: Ip4Fields): Builder;
  ip6(fields: Ip6Fields): Builder;
  tcp(fields: TcpFields): Builder;
  udp(fields: UdpFields): Builder;
  icmp(fields: IcmpFields): Builder;
  sctp(fields: SctpFields): Builder;
  payload(content: Uint8Array | string | number): Builder; // a number: so many bytes 0, 1, 2 …
  bytes(): Uint8Array;
  /** From the IP header on: what an ICMP error quotes. */
  ip(): Uint8Array;
}

type Layer =
  | { readonly kind: 'eth'; readonly fields: EthFields }
  | { readonly kind: 'vlan'; readonly id: number; readonly type: number }
  | { readonly kind: 'ip4'; readonly fields: Ip4Fields }
  | { readonly kind: 'ip6'; readonly fields: Ip6Fields }
  | { readonly kind: 'tcp'; readonly fields: TcpFields }
  | { readonly kind: 'udp'; readonly fields: UdpFields }
  | { readonly kind: 'icmp'; readonly fields: IcmpFields }
  | { readonly kind: 'sctp'; readonly fields: SctpFields }
  | { readonly kind: 'raw'; readonly bytes: Uint8Array };

type IpLayer = Extract<Layer, { kind: 'ip4' | 'ip6' }>;

export const tcpFlags = { F: 1, S: 2, R: 4, P: 8, A: 16 } as const;
export const protocols = { icmp: 1, tcp: 6, udp: 17, icmp6: 58, sctp: 132 } as const;
const etherTypes = { ip4: 0x0800, ip6: 0x86dd, vlan: 0x8100 } as const;

/** Sum of 16-bit words, folded, not complemented. */
export function sum16(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

export function addressBytes(text: string, family: 4 | 6): Uint8Array {
  const bytes = parseAddress(text);
  if (bytes === undefined) throw new Error(`${text} is no address`);
  return family === 4 ? bytes.subarray(12) : bytes;
}

const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value & 0xffff)];
const join = (...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));
const macBytes = (text: string): number[] => text.split(':').map((byte) => parseInt(byte, 16));

export function pseudoHeader(src: Uint8Array, dst: Uint8Array, protocol: number, length: number): Uint8Array {
  return join(src, dst, be32(length), be32(protocol));
}

function pseudoOf(ip: IpLayer | undefined, protocol: number, length: number): Uint8Array {
  if (ip === undefined) return new Uint8Array(0);
  const family = ip.kind === 'ip4' ? 4 : 6;
  const { src, dst } = ip.fields;
  return pseudoHeader(addressBytes(src, family), addressBytes(dst, family), protocol, length);
}

/** Puts the checksum at `at` of a transport message; partial is what the stack leaves for a device to finish. */
function seal(
  message: Uint8Array,
  at: number,
  pseudo: Uint8Array,
  kind: Checksum,
  zeroIsNone: boolean,
): Uint8Array {
  let value = typeof kind === 'number' ? kind : 0;
  if (kind === 'partial') value = sum16(pseudo);
  if (kind === 'full') value = ~sum16(pseudo, message) & 0xffff;
  if (kind === 'full' && zeroIsNone && value === 0) value = 0xffff;
  message.set(be16(value), at);
  return message;
}

function buildTcp(fields: TcpFields, body: Uint8Array, ip: IpLayer | undefined): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const wanted = fields.flags ?? 'A';
  const flags = Object.entries(tcpFlags).reduce(
    (bits, [flag, bit]) => (wanted.includes(flag) ? bits | bit : bits),
    0,
  );
  const doff = fields.doff ?? 5 + options.length / 4;
  const head = [be16(fields.sport), be16(fields.dport), be32(fields.seq ?? 0), be32(fields.ack ?? 0)].flat();
  const message = join(head, [doff << 4, flags], be16(fields.window ?? 64240), [0, 0, 0, 0], options, body);
  return seal(message, 16, pseudoOf(ip, protocols.tcp, message.length), fields.checksum ?? 'full', false);
}

function buildUdp(fields: UdpFields, body: Uint8Array, ip: IpLayer | undefined): Uint8Array {
  const message = join(be16(fields.sport), be16(fields.dport), be16(8 + body.length), [0, 0], body);
  return seal(message, 6, pseudoOf(ip, protocols.udp, message.length), fields.checksum ?? 'full', true);
}

function buildSctp(fields: SctpFields, body: Uint8Array): Uint8Array {
  const { sport, dport, tag = 1, chunk = 0, checksum = 'full' } = fields;
  const head = [...be16(sport), ...be16(dport), ...be32(tag), 0, 0, 0, 0];
  const message = join(head, [chunk, 0], be16(4 + body.length), body);
  const value = checksum === 'full' ? sctpChecksum(message) : typeof checksum === 'number' ? checksum : 0;
  message.set(
    [value, value >>> 8, value >>> 16, value >>> 24].map((byte) => byte & 255),
    8,
  );
  return message;
}

function buildIcmp(fields: IcmpFields, body: Uint8Array, ip: IpLayer | undefined): Uint8Array {
  const message = join([fields.type, fields.code ?? 0, 0, 0], be32(fields.rest ?? 0), body);
  const pseudo = ip?.kind === 'ip6' ? pseudoOf(ip, protocols.icmp6, message.length) : new Uint8Array(0);
  return seal(message, 2, pseudo, fields.checksum ?? 'full', false);
}

function buildIp4(fields: Ip4Fields, protocol: number, body: Uint8Array): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const version = ((fields.version ?? 4) << 4) | (fields.ihl ?? 5 + options.length / 4);
  const offset = ((fields.fragment ?? 0) >> 3) | (fields.more === true ? 0x2000 : 0);
  const header = join(
    [version, 0],
    be16(fields.length ?? 20 + options.length + body.length),
    be16(fields.id ?? 0),
    be16(offset | (fields.dontFragment === true ? 0x4000 : 0)),
    [fields.ttl ?? 64, fields.protocol ?? protocol, 0, 0],
    addressBytes(fields.src, 4),
    addressBytes(fields.dst, 4),
    options,
  );
  header.set(be16(~sum16(header) & 0xffff), 10);
  return join(header, body);
}

function buildIp6(fields: Ip6Fields, protocol: number, body: Uint8Array): Uint8Array {
  let payload = body;
  let next = fields.protocol ?? protocol;
  for (const { type, body: content = new Uint8Array(6) } of [...(fields.extensions ?? [])].reverse()) {
    // A fragment header has a reserved byte where others have a length; an authentication header counts in fours.
    const length =
      type === 44 ? 0 : type === 51 ? (content.length + 2) / 4 - 2 : (content.length + 2) / 8 - 1;
    payload = join([next, length], content, payload);
    next = type;
  }
  const length = be16(fields.length ?? payload.length);
  const addresses = join(addressBytes(fields.src, 6), addressBytes(fields.dst, 6));
  return join([(fields.version ?? 6) << 4, 0, 0, 0], length, [next, fields.hops ?? 64], addresses, payload);
}

function buildEth(fields: EthFields, type: number, body: Uint8Array): Uint8Array {
  const dst = macBytes(fields.dst ?? '02:00:00:00:00:01');
  return join(dst, macBytes(fields.src ?? '02:00:00:00:00:02'), be16(fields.type ?? type), body);
}

function protocolOf(layer: Layer | undefined, family: 4 | 6): number {
  if (layer?.kind === 'tcp') return protocols.tcp;
  if (layer?.kind === 'udp') return protocols.udp;
  if (layer?.kind === 'sctp') return protocols.sctp;
  if (layer?.kind === 'icmp') return family === 4 ? protocols.icmp : protocols.icmp6;
  return 59; // no next header
}

function etherTypeOf(layer: Layer | undefined): number {
  return layer !== undefined && layer.kind in etherTypes
    ? etherTypes[layer.kind as keyof typeof etherTypes]
    : 0x88b5;
}

function assemble(layers: readonly Layer[]): Uint8Array {
  const [layer, ...inner] = layers;
  if (layer === undefined) return new Uint8Array(0);
  return wrap(layer, inner, (rest, ip) => assembleWithin(rest, ip));
}

/** The layers inside an IP header: their checksums cover its addresses. */
function assembleWithin(layers: readonly Layer[], ip: IpLayer | undefined): Uint8Array {
  const [layer, ...inner] = layers;
  if (layer === undefined) return new Uint8Array(0);
  if (layer.kind === 'tcp') return buildTcp(layer.fields, assembleWithin(inner, ip), ip);
  if (layer.kind === 'udp') return buildUdp(layer.fields, assembleWithin(inner, ip), ip);
  if (layer.kind === 'sctp') return buildSctp(layer.fields, assembleWithin(inner, ip));
  if (layer.kind === 'icmp') return buildIcmp(layer.fields, assembleWithin(inner, ip), ip);
  if (layer.kind === 'raw') return join(layer.bytes, assembleWithin(inner, ip));
  return wrap(layer, inner, assembleWithin);
}

function wrap(
  layer: Layer,
  inner: readonly Layer[],
  rest: (layers: readonly Layer[], ip: IpLayer | undefined) => Uint8Array,
): Uint8Array {
  switch (layer.kind) {
    case 'eth':
      return buildEth(layer.fields, etherTypeOf(inner[0]), assemble(inner));
    case 'vlan':
      return join(be16(layer.id), be16(etherTypeOf(inner[0])), assemble(inner));
    case 'ip4':
      return buildIp4(layer.fields, protocolOf(inner[0], 4), rest(inner, layer));
    case 'ip6':
      return buildIp6(layer.fields, protocolOf(inner[0], 6), rest(inner, layer));
    default:
      return assembleWithin([layer, ...inner], undefined);
  }
}

function content(value: Uint8Array | string | number): Uint8Array {
  if (typeof value === 'number') return Uint8Array.from({ length: value }, (_, i) => i & 0xff);
  return typeof value === 'string' ? new TextEncoder().encode(value) : value;
}

function builder(layers: readonly Layer[]): Builder {
  const add = (layer: Layer): Builder => builder([...layers, layer]);
  return {
    vlan: (id, type = etherTypes.vlan) => {
      const last = layers.at(-1);
      const typed =
        last?.kind === 'eth'
          ? [...layers.slice(0, -1), { ...last, fields: { ...last.fields, type } }]
          : layers;
      return builder([...typed, { kind: 'vlan', id, type }]);
    },
    ip4: (fields) => add({ kind: 'ip4', fields }),
    ip6: (fields) => add({ kind: 'ip6', fields }),
    tcp: (fields) => add({ kind: 'tcp', fields }),
    udp: (fields) => add({ kind: 'udp', fields }),
    icmp: (fields) => add({ kind: 'icmp', fields }),
    sctp: (fields) => add({ kind: 'sctp', fields }),
    payload: (value) => add({ kind: 'raw', bytes: content(value) }),
    bytes: () => assemble(layers),
    ip: () => assemble(layers.filter((layer) => layer.kind !== 'eth' && layer.kind !== 'vlan')),
  };
}

export const eth = (fields: EthFields = {}): Builder => builder([{ kind: 'eth', fields }]);
export const raw = (bytes: Uint8Array): Builder => builder([{ kind: 'raw', bytes }]);
