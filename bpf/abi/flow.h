/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A flow entry is a rewrite: the key is the packet on the wire at the hook that sees it, the value what to write over
 * it. */
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

/* The partner's key is the rewritten tuple with its ends exchanged. */
struct slb_flow {
	__be32 saddr[4]; /* IPv4 in the first word, the rest 0 */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 addr_delta; /* one's complement difference of both addresses: IPv4 header and pseudo header */
	__u32 port_delta; /* the same of both ports */
	__u32 service;	  /* ids, for counters and for the flow list */
	__u32 backend;
	__u32 seen; /* jiffies, low 32 bits, of the last packet, at most a second old */
	__u8 flags; /* enum slb_flow_flags */
	__u8 fin;   /* 1: this direction has sent FIN. Three bytes and not flags: each is stored whole by whichever */
	__u8 peer_fin; /* 1: the other direction has     CPU sees the packet, so that no read-modify-write can lose one
			*/
	__u8 rst;      /* 1: either has sent a RST that its receiver can have believed */
	__u32 created; /* jiffies, low 32 bits */
	__u32 ifindex; /* of the device by which this host sends its requests; 0: the client is not this host */
	__u8 forward;  /* enum slb_forward */
	__u8 peer_forward; /* of the other direction */
	__u8 dead; /* 1: ended, and passed by: its key may be another connection's. The agent's sweep frees it */
	__u8 pad;
	__u32 ack; /* host order. TCP: the sequence number that this direction has acknowledged last; SCTP: the
		    * verification tag it sends. Until the flow is assured, of a request: what its client has to send to
		    * show that it has received the answer. 0: unknown */
};

enum slb_flow_flags {
	SLB_FLOW_REPLY = 1,	 /* backend to client; else client to backend */
	SLB_FLOW_AT_INGRESS = 2, /* hooks at which the rewrite applies */
	SLB_FLOW_AT_EGRESS = 4,
	SLB_FLOW_MASQUERADED = 8,      /* the backend sees an address of this node instead of the client's */
	SLB_FLOW_SEEN_REPLY = 16,      /* the backend has replied */
	SLB_FLOW_PEER_AT_INGRESS = 32, /* hooks of the other direction */
	SLB_FLOW_PEER_AT_EGRESS = 64,
	SLB_FLOW_ASSURED = 128, /* and the client has shown that it received that: lives in the established table */
};

/* How a rewritten packet goes on. */
enum slb_forward {
	SLB_FORWARD_STACK = 0,	 /* up the stack, or out of the device at egress, like any other packet */
	SLB_FORWARD_HAIRPIN = 1, /* hairpin: back out of the device it came in by */
	SLB_FORWARD_FIB = 2,	 /* by the routing table, past the stack, which would take its source for a martian */
	SLB_FORWARD_HOST = 3,	 /* into this host, by the device whose route leads to the packet's source */
};
