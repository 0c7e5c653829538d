/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SCTP (RFC 9260) as far as a translator must know it: ports, the chunks that open and end an association, the
 * checksum. Associations of several addresses cannot be translated: neither end would know the other's. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "crc32c.h"
#include "pkt.h"

struct sctp_header {
	__be16 source;
	__be16 dest;
	__be32 tag;
	__u32 checksum; /* CRC32c of header and chunks, with this field 0; lowest byte first */
};

#define SCTP_CHUNK 4 /* bytes of a chunk's header, its type first */

enum {
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

/* What the first chunk would be in TCP. Those that open and the one that ends an association are never bundled with
 * others; behind another chunk a SHUTDOWN or ABORT is missed, which costs nothing but an entry that lives longer. */
static __always_inline __u8 sctp_as_tcp(__u8 chunk)
{
	switch (chunk) {
	case SCTP_INIT:
		return TCP_SYN;
	case SCTP_INIT_ACK:
		return TCP_SYN | TCP_ACK;
	case SCTP_ABORT:
	case SCTP_SHUTDOWN_COMPLETE:
		return TCP_RST;
	case SCTP_SHUTDOWN:
	case SCTP_SHUTDOWN_ACK:
		return TCP_FIN | TCP_ACK;
	default:
		return TCP_ACK;
	}
}

/* The field is stored with its lowest byte first, whatever the machine. */
static __always_inline __u32 sctp_le32(__u32 value)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap32(value);
}

/* A checksum field after the ports in front of `length` bytes changed from `before` to `after`, both as they lie in
 * memory. 0 means that a device is to finish it, or that the two ends have agreed on none; and once in four thousand
 * million packets it is the checksum, which then is wrong. */
static __always_inline __u32 sctp_checksum(__u32 checksum, __u32 before, __u32 after, __u32 length)
{
	__u32 difference = sctp_le32(before ^ after);

	if (!checksum || !difference)
		return checksum;
	return checksum ^ sctp_le32(slb_crc32c(difference, length));
}
