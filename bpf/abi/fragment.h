/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ports of fragmented datagrams: only the first fragment carries them, and the later ones must follow it. */
#pragma once
#include <linux/types.h>

struct slb_fragment_key {
	__be32 saddr[4]; /* as in a flow key */
	__be32 daddr[4];
	__u32 id; /* of the IP datagram, as on the wire */
	__u8 proto;
	__u8 pad[3];
};

struct slb_fragment {
	__be16 sport;
	__be16 dport;
	__u32 seen; /* jiffies, low 32 bits: ids are used again */
};
