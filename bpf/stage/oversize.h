/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets that exceed the MTU of their route and may be fragmented: IPv4 without DF. Programs cannot fragment, the
 * stack can when it forwards. It would drop a packet whose source is an address of this node or of a service, so it
 * gets the packet with the destination rewritten alone, as from netfilter's PREROUTING, and the source is rewritten at
 * egress, as in POSTROUTING. A packet of this host itself comes back by lo, where its source is valid. In tc only. */
#pragma once
#include <stddef.h>
#include "../maps/oversize.h"
#include "../lib/bounds.h"
#include "../lib/clock.h"
#include "forward.h"
#include "fragment.h"
#include "parse.h"

#define OVERSIZE_SEC 2 /* longer than the stack takes to fragment a packet */

#define OVERSIZE_SOURCE 1u

/* Writes source or destination of an IPv4 packet: address and port; 0 when done. `l4` is 0 for a later fragment, which
 * has no ports. `what` is the port, the protocol << 16 and OVERSIZE_SOURCE << 24, since a global function takes five
 * arguments at most. */
__noinline int slb_set_end(struct __sk_buff *skb, __u32 l3, __u32 l4, __be32 addr, __u32 what)
{
	bool source = what >> 24 & OVERSIZE_SOURCE, udp = (what >> 16 & 0xff) == IPPROTO_UDP;
	__u32 field = l3 + (source ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr));
	__u32 ports = l4 + (source ? offsetof(struct udphdr, source) : offsetof(struct udphdr, dest));
	__u32 check = l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__u64 flags = udp ? BPF_F_MARK_MANGLED_0 : 0;
	__be16 port = what, port_was;
	__be32 was;

	if (bpf_skb_load_bytes(skb, field, &was, sizeof(was)) ||
	    bpf_skb_store_bytes(skb, field, &addr, sizeof(addr), 0) ||
	    bpf_l3_csum_replace(skb, l3 + offsetof(struct iphdr, check), was, addr, sizeof(addr)))
		return -1;
	if (!l4)
		return 0;
	if (bpf_skb_load_bytes(skb, ports, &port_was, sizeof(port)) ||
	    bpf_skb_store_bytes(skb, ports, &port, sizeof(port), 0) ||
	    bpf_l4_csum_replace(skb, check, was, addr, sizeof(addr) | BPF_F_PSEUDO_HDR | flags) ||
	    bpf_l4_csum_replace(skb, check, port_was, port, sizeof(port) | flags))
		return -1;
	return 0;
}

static __always_inline __must_check bool oversize_set_end(const struct pkt *pkt, __be32 addr, __be16 port, __u32 source)
{
	return !slb_set_end(pkt->ctx, pkt->l3, pkt_later_fragment(pkt) ? 0 : pkt->l4, addr,
			    port | pkt->tuple->proto << 16 | source << 24);
}

/* IPv4 without DF. Not SCTP, whose checksum would have to be computed from the whole packet. */
static __always_inline bool oversize_may_fragment(const struct pkt *pkt)
{
	const struct iphdr *ip = at(pkt, pkt->l3, sizeof(*ip));

	return ip && !(ip->frag_off & bpf_htons(IP4_DF)) && pkt->tuple->proto != IPPROTO_SCTP;
}

/* Whether the packet must go by the stack; `found` is the verdict of forward_find(). All fragments of a datagram take
 * the path of the first one. */
static __always_inline bool oversize_needs_stack(const struct pkt *pkt, const struct slb_flow *flow,
						 enum slb_verdict found, const enum slb_hook hook,
						 const enum slb_family family)
{
	if (!hook_has_skb(hook) || family != SLB_IP4 || flow->forward != SLB_FORWARD_FIB)
		return false;
	return found == SLB_REFUSED_TOO_BIG ? oversize_may_fragment(pkt) : found == SLB_CONTINUE && pkt->by_stack;
}

/* Writes the destination, and passes the packet up the stack, at ingress. False when that failed. */
static __always_inline __must_check bool oversize_begin(struct pkt *pkt, const struct slb_flow *flow)
{
	struct slb_oversize row = {.saddr = flow->saddr[0], .sport = flow->sport, .seen = clock_now()};
	struct slb_flow_key4 key = {
		.saddr = pkt->tuple->saddr[0],
		.daddr = flow->daddr[0],
		.sport = pkt->tuple->sport,
		.dport = flow->dport,
		.proto = pkt->tuple->proto,
	};

	pkt->action = TC_NEXT;
	return !oversize_put(&key, &row) && oversize_set_end(pkt, flow->daddr[0], flow->dport, 0);
}

/* Writes the source of what the stack has fragmented: for a forwarded packet without a flow, at egress. FRAGMENTED, or
 * NOT_OURS when it is none. */
static __always_inline __must_check enum slb_verdict oversize_finish(struct pkt *pkt, __u32 now,
								     const enum slb_family family)
{
	struct slb_flow_key4 key = flow_key4(pkt->tuple);
	const struct slb_oversize *row;

	if (family != SLB_IP4 || !oversize_may_fragment(pkt))
		return SLB_NOT_OURS;
	row = oversize_get(&key);
	if (!row || clock_passed(row->seen, now, OVERSIZE_SEC))
		return SLB_NOT_OURS;
	pkt->action = TC_NEXT;
	return oversize_set_end(pkt, row->saddr, row->sport, OVERSIZE_SOURCE) ? SLB_FRAGMENTED : SLB_DROP_INTERNAL;
}
