/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What stages hand on. Only inlined functions may be given the address of a struct pkt, never a helper: then it
 * dissolves into registers, and the hook and family that stages take as constants leave no code of the other kind
 * behind. */
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

#define PKT_OFF_MASK 0x3ff /* no offset into a packet goes past this */
#define PKT_L4_MAX   0x1ff /* nor the transport header past this: leaves room for what an ICMP error quotes */

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

struct pkt {
	void *ctx;  /* struct __sk_buff * or struct xdp_md *, by the hook */
	void *data; /* pkt_load() after every helper that may move the packet */
	void *end;
	__u32 frame_len; /* bytes of the packet from the Ethernet header on, also those that are not linear */
	/* parse */
	__u32 l3; /* offsets from the Ethernet header */
	__u32 l4;
	__u32 ip_len;	    /* bytes from the IP header on */
	__u8 family;	    /* enum slb_family */
	__u16 fragment;	    /* 0: whole; else offset in units of 8 bytes << 1 | more fragments */
	__u8 tcp_flags;	    /* byte 13 of the TCP header; of SCTP what its first chunk would be in TCP */
	__u8 conn_oriented; /* 1: of a protocol with connections of its own, which tcp_flags tell of */
	__u8 nexthdr;	    /* IPv6: of the fixed header, the first extension if there is one */
	__u32 fragment_id;
	__u8 by_stack; /* 1: later fragment of a datagram whose first one went by the stack, to be fragmented further */
	/* The 5-tuple as on the wire when the packet came in, also after it was rewritten. IPv4 addresses are in the
	 * first word, the others are 0. Beside the struct, because map helpers are given its address. */
	struct slb_flow_key6 *tuple;
	/* fastpath */
	__u8 plain;   /* 1: parsed */
	__u8 unknown; /* 1: the established table has no such flow, or had none when slb_moves was `moves` */
	__u32 moves;
	/* track */
	__u32 service; /* ids to count for; 0: not ours */
	__u32 backend;
	__u8 reply;  /* 1: backend to client */
	__u8 opened; /* 1: first packet of a connection */
	/* forward, refuse */
	__u32 mtu;  /* of the way on, when the packet is too big for it */
	int action; /* what the program returns when the verdict sends or refuses */
};

/* The fields of a context are 32 bits wide, and pointers to the verifier. The compiler must not copy one as a number of
 * 32 bits, which it may when registers are short. */
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

		/* Else the compiler may keep the address of a field, which the verifier does not allow. */
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
