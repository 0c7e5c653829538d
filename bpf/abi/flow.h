/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A flow entry is one direction of a connection: the key is the 5-tuple at the hook that sees it, the value the tuple
 * to write over it. */
#pragma once
#include <linux/types.h>

struct slb_flow_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct slb_flow_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad[3];
};

/* The key of the other direction (the peer) is the rewritten tuple with its ends exchanged. */
struct slb_flow {
	__be32 saddr[4]; /* IPv4 in the first word, the rest 0 */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 addr_delta; /* difference of both addresses in one's complement, for the IPv4 header and the pseudo header */
	__u32 port_delta; /* the same for both ports */
	__u32 service;	  /* ids */
	__u32 backend;
	__u32 seen; /* jiffies, low 32 bits, of the last packet, at most a second old */
	__u8 flags; /* enum slb_flow_flags {
	SLB_FLOW_REPLY = 1,	       /* backend to client; else client to backend */
	SLB_FLOW_AT_INGRESS = 2,       /* hooks that rewrite this direction */
	SLB_FLOW_AT_EGRESS = 4,
	SLB_FLOW_MASQUERADED = 8,      /* SNAT: the backend sees an address of this node */
	SLB_FLOW_SEEN_REPLY = 16,      /* the backend has replied */
	SLB_FLOW_PEER_AT_INGRESS = 32, /* hooks that rewrite the other direction */
	SLB_FLOW_PEER_AT_EGRESS = 64,
	SLB_FLOW_ASSURED = 128, /* the client has confirmed the reply: the flow belongs in the established table */
};

/* How a packet is forwarded once it is rewritten. */
enum slb_forward {
	SLB_FORWARD_STACK = 0,	 /* by the stack: up at ingress, out of the device at egress */
	SLB_FORWARD_HAIRPIN = 1, /* back out of the device it came in by */
	SLB_FORWARD_FIB = 2,	 /* by bpf_fib_lookup() and past the stack, to which its source is a martian */
	SLB_FORWARD_HOST = 3,	 /* into this host, as received by the device that leads to its source */
};
