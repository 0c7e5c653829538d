/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a rewritten packet goes on: usually up the stack, which routes it like any other. */
#pragma once
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "at.h"
#include "parse.h"

#ifndef AF_INET
#define AF_INET	 2
#define AF_INET6 10
#endif

/* Lets programs and filters behind us see the packet too, which TC_ACT_OK would not. */
#define FORWARD_PASS TC_ACT_UNSPEC

/* Out of the device the packet came in by; at egress, back into the host it came from. The frame's ends are exchanged.
 * Passing it up instead would not do: its source is a service address, behind which no route to this device leads. */
static __always_inline __must_check bool forward_bounce(struct pkt *pkt, const enum slb_hook hook)
{
	struct __sk_buff *skb = pkt->ctx;
	__u8 mac[ETH_ALEN];
	struct ethhdr *eth;

	pkt_load(pkt, hook);
	eth = at(pkt, 0, sizeof(*eth));
	if (!eth)
		return false;
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	pkt->action = bpf_redirect(skb->ifindex, hook == SLB_HOOK_TC_OUT ? BPF_F_INGRESS : 0);
	return pkt->action == TC_ACT_REDIRECT;
}

/* A request of this host was routed by the service address; the way to the backend may be another. Without a route the
 * packet goes on as it is: then the stack's own choice is as good as any. */
static __always_inline void forward_routed(struct pkt *pkt, const struct slb_flow *flow, const enum slb_family family)
{
	struct __sk_buff *skb = pkt->ctx;
	struct bpf_fib_lookup fib = {
		.family = family == SLB_IP4 ? AF_INET : AF_INET6,
		.l4_protocol = pkt->tuple->proto,
		.sport = flow->sport,
		.dport = flow->dport,
		.tot_len = 0, /* no MTU check: the device segments, or the stack has fragmented */
		.ifindex = skb->ifindex,
	};
	long found;

	if (family == SLB_IP4) {
		fib.ipv4_src = flow->saddr[0];
		fib.ipv4_dst = flow->daddr[0];
	} else {
		addr_copy(fib.ipv6_src, flow->saddr);
		addr_copy(fib.ipv6_dst, flow->daddr);
	}
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH)
		pkt->action = bpf_redirect_neigh(fib.ifindex, NULL, 0, 0);
}

static __always_inline __must_check bool forward(struct pkt *pkt, const struct slb_flow *flow, const enum slb_hook hook,
						 const enum slb_family family)
{
	pkt->action = FORWARD_PASS;
	if (hook == SLB_HOOK_XDP)
		return true;
	if (flow->flags & SLB_FLOW_BOUNCE)
		return forward_bounce(pkt, hook);
	if (hook == SLB_HOOK_TC_OUT && !(flow->flags & SLB_FLOW_REPLY))
		forward_routed(pkt, flow, family);
	return true;
}
