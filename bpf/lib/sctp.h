/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* SCTP (RFC 9260), as far as translation needs it: ports, the chunks that open and end an association, the checksum.
 * Multi-homed associations are not supported: their chunks carry addresses. */
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

#define SCTP_CHUNK 4 /* bytes of a chunk header, the type first */

enum {
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

/* TCP flags that stand for the first chunk. INIT, INIT ACK and SHUTDOWN COMPLETE are never bundled. A SHUTDOWN or ABORT
 * behind another chunk is missed, and the entry then lives until it is idle. */
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

/* The checksum field is little-endian. */
static __always_inline __u32 sctp_le32(__u32 value)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? value : __builtin_bswap32(value);
}

/* The checksum field of a packet of `length` bytes when its ports change from `before` to `after`, both as in memory. 0
 * stays 0: the device completes it, or the ends have agreed on zero checksums (RFC 9653). One packet in 2^32 has 0 as
 * its checksum; that one becomes wrong. */
static __always_inline __u32 sctp_checksum(__u32 checksum, __u32 before, __u32 after, __u32 length)
{
	__u32 difference = sctp_le32(before ^ after);

	if (!checksum || !difference)
		return checksum;
	return checksum ^ sctp_le32(slb_crc32c(difference, length));
}
