/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The state of a packet that stages pass on. Its address must not escape to a helper or a global function: then the
 * compiler keeps it in registers, and drops the code of other hooks and the other family. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"
#include "../abi/limits.h"
#include "../abi/verdict.h"
#include "hook.h"

#ifndef __must_check
#define __must_check __attribute__((warn_unused_result))
#endif

#define PKT_OFF_MASK 0x3ff /* greatest offset into a packet */
#define PKT_L4_MAX   0x1ff /* greatest offset of the transport header: leaves room for what an ICMP error quotes */

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

struct pkt {
	void *ctx;  /* struct __sk_buff * or struct xdp_md *, by the hook */
	void *data; /* call pkt_load() after every helper that may move the packet */
	void *end;
	__u32 frame_len; /* bytes from the Ethernet header on, including non-linear ones */
	/* parse */
	__u32 l3; /* offsets from the Ethernet header */
	__u32 l4;
	__u32 ip_len;	    /* bytes from the IP header on */
	__u8 family;	    /* enum slb_family */
	__u16 fragment;	    /* 0: whole; else offset in units of 8 bytes << 1 | more fragments */
	__u8 tcp_flags;	    /* byte 13 of the TCP header; for SCTP see sctp_as_tcp() */
	__u8 conn_oriented; /* 1: TCP or SCTP, and tcp_flags are valid */
	__u8 nexthdr;	    /* IPv6: of the fixed header, so the first extension header if there is one */
	__u32 fragment_id;
	__u8 by_stack; /* 1: later fragment of a datagram that the stack fragments further (stage/oversize.h) */
	/* The 5-tuple as received, also after the rewrite. Outside the struct, because map helpers take its address. */
	struct slb_flow_key6 *tuple;
	/* fastpath */
	__u8 plain;   /* 1: parsed */
	__u8 unknown; /* 1: the established table has no such flow, or had none when slb_moves was `moves` */
	__u32 moves;
	/* track */
	__u32 service; /* ids, for the counters; 0: none */
	__u32 backend;
	__u8 reply;  /* 1: backend to client */
	__u8 opened; /* 1: first packet of a connection */
	/* forward, refuse */
	__u32 mtu;  /* of the route, when the packet exceeds it */
	int action; /* return value of the program for verdicts of class SEND and REFUSE */
};

/* Packet pointers of a context are 32-bit fields that the verifier loads as pointers. The barrier keeps the compiler
 * from spilling one as a 32-bit scalar. */
static __always_inline void *pkt_pointer(__u32 field)
{
	void *pointer = (void *)(long)field;

	asm volatile("" : "+r"(pointer));
	return pointer;
}

static __always_inline void pkt_load(struct pkt *pkt, const enum slb_hook hook)
{
	if (hook == SLB_HOOK_XDP) {
		struct xdp_md *xdp = pkt->ctx;

		pkt->data = pkt_pointer(xdp->data);
		pkt->end = pkt_pointer(xdp->data_end);
		pkt->frame_len = pkt->end - pkt->data;
	} else {
		struct __sk_buff *skb = pkt->ctx;

		/* Else the compiler may compute the address of a field, and the verifier rejects modified ctx. */
		asm volatile("" : "+r"(skb));
		pkt->data = pkt_pointer(skb->data);
		pkt->end = pkt_pointer(skb->data_end);
		pkt->frame_len = skb->len;
	}
}

static __always_inline bool pkt_first_fragment(const struct pkt *pkt)
{
	return pkt->fragment == 1;
}

static __always_inline bool pkt_later_fragment(const struct pkt *pkt)
{
	return pkt->fragment > 1;
}
