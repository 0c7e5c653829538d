// Decodes rows of translated sockets. A program deletes them when the socket is closed, and nothing deletes them by
// age: a connection may be silent for a year. Here they are only read.
import { decode } from '../abi/codec.ts';
import { slbSocket, slbSocketFlags, type SlbSocketRow } from '../abi/layout.gen.ts';
import { formatAddress } from '../net/ip.ts';
import { protocolNumbers } from '../table/rows.ts';
import { secondsBetween } from './clock.ts';
import type { FlowEntry, RowOfPage } from './flowrows.ts';

export function decodeSocket({ values, index, clock, now }: RowOfPage): FlowEntry | undefined {
  const row = decode(slbSocket, values, index * slbSocket.size);
  if ((row.flags & slbSocketFlags.SOCKET_RETIRED) !== 0) return undefined;
  const client = { address: addressOf(row.client), port: row.clientPort };
  const backend = { address: formatAddress(row.backendAddr), port: row.backendPort };
  const namesPeers = (row.flags & slbSocketFlags.SOCKET_CONNECTED) === 0;
  return {
    via: 'socket',
    proto: row.proto,
    client,
    frontend: { address: formatAddress(row.frontend), port: row.frontendPort },
    backend,
    source: client,
    service: row.service,
    backendId: row.backend,
    state: stateOf(row),
    hairpin: client.address === backend.address,
    masqueraded: false,
    ageSec: secondsBetween(clock, row.created, now),
    idleSec: namesPeers ? secondsBetween(clock, row.seen, now) : undefined,
  };
}

/** A UDP socket counts as established: whether a datagram was answered is not known. */
function stateOf({ proto, flags }: SlbSocketRow): FlowEntry['state'] {
  return proto === protocolNumbers.TCP && (flags & slbSocketFlags.SOCKET_ESTABLISHED) === 0
    ? 'half-open'
    : 'established';
}

/** "" until the kernel has chosen the address and a program has seen it. */
function addressOf(bytes: Uint8Array): string {
  return bytes.every((byte) => byte === 0) ? '' : formatAddress(bytes);
}
