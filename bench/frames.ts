// Frame templates for bench/wrap.bpf.c: checksums right, the low 20 bits of the client's address zero.
import { parseAddress } from '../src/net/ip.ts';

export type Family = 4 | 6;

export interface Ends {
  readonly client: string;
  readonly service: string;
  readonly backend: string;
  readonly node: string; // where NodePorts are dialled, and what masqueraded packets come from
}

/** Clients are numbered in the low 20 bits of these. */
export const ends: Readonly<Record<Family, Ends>> = {
  4: { client: '10.16.0.0', service: '10.96.0.1', backend: '10.244.1.2', node: '192.0.2.2' },
  6: { client: 'fd00:10::', service: 'fd00:96::1', backend: 'fd00:244:1::2', node: '2001:db8::2' },
};
export const clientPort = 40_000;
export const servicePort = 80;
export const nodePort = 30_080;
export const backendPort = 8080;

export const tcpSyn = 0x02;
export const tcpSynAck = 0x12;
export const tcpAck = 0x10;

export interface FrameSpec {
  readonly family: Family;
  readonly protocol: 'tcp' | 'udp';
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags: number; // TCP only
  readonly clientIs: 'source' | 'destination';
}

export interface Template {
  readonly bytes: Uint8Array;
  readonly client: number; // offsets, as in struct bench_frame
  readonly ipSum: number;
  readonly l4Sum: number;
}

const ethernet = 14;
const layout = {
  4: { length: 64, header: 20, source: 12, destination: 16, addressSize: 4 },
  6: { length: 80, header: 40, source: 8, destination: 24, addressSize: 16 },
} as const;

function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function addressBytes(text: string, family: Family): Uint8Array {
  const mapped = parseAddress(text);
  if (mapped === undefined) throw new Error(`no address: ${text}`);
  return family === 4 ? mapped.subarray(12) : mapped;
}

function writeIp(view: DataView, bytes: Uint8Array, spec: FrameSpec): void {
  const { length, source, destination } = layout[spec.family];
  const number = spec.protocol === 'tcp' ? 6 : 17;
  bytes.set([2, 0, 0, 0, 0, 1]); // the address of every device there
  view.setUint16(12, spec.family === 4 ? 0x0800 : 0x86dd);
  if (spec.family === 4) {
    view.setUint8(ethernet, 0x45);
    view.setUint16(ethernet + 2, length - ethernet);
    view.setUint16(ethernet + 6, 0x4000); // DF
    view.setUint8(ethernet + 8, 64);
    view.setUint8(ethernet + 9, number);
  } else {
    view.setUint8(ethernet, 0x60);
    view.setUint16(ethernet + 4, length - ethernet - layout[6].header);
    view.setUint8(ethernet + 6, number);
    view.setUint8(ethernet + 7, 64);
  }
  bytes.set(addressBytes(spec.source, spec.family), ethernet + source);
  bytes.set(addressBytes(spec.destination, spec.family), ethernet + destination);
}

function writePorts(view: DataView, l4: number, size: number, spec: FrameSpec): void {
  view.setUint16(l4, spec.sourcePort);
  view.setUint16(l4 + 2, spec.destinationPort);
  if (spec.protocol === 'udp') {
    view.setUint16(l4 + 4, size);
    return;
  }
  view.setUint32(l4 + 4, 1000);
  if ((spec.flags & tcpAck) !== 0) view.setUint32(l4 + 8, 1001);
  view.setUint8(l4 + 12, 5 << 4);
  view.setUint8(l4 + 13, spec.flags);
  view.setUint16(l4 + 14, 0xffff);
}

export function template(spec: FrameSpec): Template {
  const { length, header, source, destination, addressSize } = layout[spec.family];
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const l4 = ethernet + header;
  const size = length - l4;
  const l4Sum = l4 + (spec.protocol === 'tcp' ? 16 : 6);
  writeIp(view, bytes, spec);
  writePorts(view, l4, size, spec);
  const addresses = bytes.subarray(ethernet + source, ethernet + source + 2 * addressSize);
  const pseudo = onesSum(addresses, size + (spec.protocol === 'tcp' ? 6 : 17));
  view.setUint16(l4Sum, ~onesSum(bytes.subarray(l4), pseudo) & 0xffff);
  const ipSum = spec.family === 4 ? ethernet + 10 : 0;
  if (ipSum > 0) view.setUint16(ipSum, ~onesSum(bytes.subarray(ethernet, l4)) & 0xffff);
  const end = spec.clientIs === 'source' ? source : destination;
  return { bytes, client: ethernet + end + addressSize - 4, ipSum, l4Sum };
}
