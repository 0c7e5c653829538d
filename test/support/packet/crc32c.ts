// CRC32c of whole messages, a byte at a time from a table: another way than the datapath's, which changes a checksum
// it has.

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let rest = byte;
  for (let bit = 0; bit < 8; bit++) rest = (rest & 1) === 1 ? (rest >>> 1) ^ 0x82f63b78 : rest >>> 1;
  return rest;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 255] ?? 0);
  return ~crc >>> 0;
}

/** Of an SCTP packet: its own checksum, at offset 8, counts as 0. */
export function sctpChecksum(message: Uint8Array): number {
  const copy = Uint8Array.from(message);
  copy.fill(0, 8, 12);
  return crc32c(copy);
}
