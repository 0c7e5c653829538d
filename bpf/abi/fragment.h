/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ports of fragmented datagrams: only the first fragment has them, and the later ones must follow it. */
#pragma once
#include <linux/types.h>
#include "limits.h"

struct slb_fragment_key {
	__be32 saddr[4]; /* as in a flow key */
	__be32 daddr[4];
	__u32 id; /* identification of the datagram, network order */
	__u8 proto;
	__u8 pad[3];
};

struct slb_fragment {
	__be16 sport;
	__be16 dport;
	__u32 seen;	/* jiffies, low 32 bits */
	__u32 by_stack; /* 1: the first one went by the stack, which fragments it further (struct slb_oversize) */
};

/* A fragment that arrived before the first of its datagram. */
struct slb_queued_key {
	__be32 saddr[4]; /* as in slb_fragment_key */
	__be32 daddr[4];
	__u32 id;
	__u32 index; /* in order of arrival, from 0 */
	__u8 proto;
	__u8 pad[3];
};

struct slb_queued {
	__u32 len;		      /* of the frame */
	__u32 seen;		      /* jiffies, low 32 bits */
	__u8 frame[SLB_QUEUED_FRAME]; /* as received, from the Ethernet header on */
};
