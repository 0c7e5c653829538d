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
	__u32 addr_delta; /* change of both addresses as a one's complement sum, for the checksums */
	__u32 port_delta; /* the same for both ports */
	__u32 service;	  /* ids */
	__u32 backend;
	__u32 seen; /* jiffies, low 32 bits, of the last packet; at most a second old */
	__u8 flags; /* enum slb_flow_flags */
	/* Three bytes and not flags: whichever CPU sees the packet stores a whole byte, so no update is lost. */
	__u8 fin;      /* 1: this direction has sent FIN */
	__u8 peer_fin; /* 1: the other one has */
	__u8 rst;      /* 1: either has sent a RST that its receiver can accept */
	__u32 created; /* jiffies, low 32 bits */
	__u32 ifindex; /* device by which this host sends the requests; 0: the client is not this host */
	__u8 forward;  /* enum slb_forward */
	__u8 peer_forward;
	__u8 dead; /* 1: ended. Look-ups skip it; a new flow may overwrite it, the agent's sweep deletes it */
	__u8 pad;
	/* Host order; 0: unknown. TCP: the last acknowledgement number of this direction; SCTP: its verification tag.
	 * In a request's entry that is not assured yet: the number by which its client confirms the reply. */
	__u32 ack;
};

enum slb_flow_flags {
	SLB_FLOW_REPLY = 1,	 /* backend to client; else client to backend */
	SLB_FLOW_AT_INGRESS = 2, /* hooks that rewrite this direction */
	SLB_FLOW_AT_EGRESS = 4,
	SLB_FLOW_MASQUERADED = 8,      /* SNAT: the backend sees an address of this node */
	SLB_FLOW_SEEN_REPLY = 16,      /* the backend has replied */
	SLB_FLOW_PEER_AT_INGRESS = 32, /* hooks that rewrite the other direction */
	SLB_FLOW_PEER_AT_EGRESS = 64,
	SLB_FLOW_ASSURED = 128, /* the client has confirmed the reply: the flow belongs to the established table */
};

/* How a packet is forwarded once it is rewritten. */
enum slb_forward {
	SLB_FORWARD_STACK = 0,	 /* by the stack: up at ingress, out of the device at egress */
	SLB_FORWARD_HAIRPIN = 1, /* back out of the device it came in by */
	SLB_FORWARD_FIB = 2,	 /* by bpf_fib_lookup() and past the stack, to which its source is a martian */
	SLB_FORWARD_HOST = 3,	 /* into this host, as received by the device that leads to its source */
};
