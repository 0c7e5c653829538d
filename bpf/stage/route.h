/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Routes packets that the stack would not forward: after SNAT their source is an address of this node, a martian to the
 * stack. In tc only. */
#pragma once
#include <stddef.h>
#include <linux/errno.h>
#include <linux/if_ether.h>
#include "../lib/addr.h"
#include "../lib/bounds.h"
#include "../lib/flow.h"
#include "../maps/fibquery.h"
#include "parse.h"

#ifndef AF_INET
#define AF_INET	 2
#define AF_INET6 10
#endif

/* BPF_FIB_LOOKUP_SRC and BPF_FIB_LKUP_RET_NO_SRC_ADDR, of kernel 6.7. Earlier kernels return EINVAL for the flag. */
#define ROUTE_SOURCE	(1u << 4)
#define ROUTE_NO_SOURCE 9 /* there is a route, but no source */

struct route {
	__u32 ifindex; /* 0: the destination is this host */
	__u32 mtu;     /* of the route, when the packet exceeds it */
	struct bpf_redir_neigh next;
};

/* Bytes of the longest IP packet to be sent: of a GSO packet the length of a segment; 0: unknown. */
static __always_inline __u32 route_length(const struct pkt *pkt)
{
	const struct __sk_buff *skb = pkt->ctx;
	const __u8 *offset = at(pkt, pkt->l4 + 12, 1);

	if (!skb->gso_size)
		return pkt->ip_len;
	if (pkt->tuple->proto == IPPROTO_UDP)
		return pkt->l4 - pkt->l3 + sizeof(struct udphdr) + skb->gso_size;
	if (pkt->tuple->proto != IPPROTO_TCP || !offset)
		return 0; /* the chunks of an SCTP GSO packet have lengths of their own */
	return pkt->l4 - pkt->l3 + (*offset >> 4) * 4 + skb->gso_size;
}

/* The MTU that the packet of slb_fib_query exceeds, for kernels before 5.12, which do not return it (mtu_result): a
 * binary search for the longest packet that has a route. */
__noinline int slb_route_mtu(struct __sk_buff *skb)
{
	struct slb_fib_query *query = fib_query_get();
	__u32 most, fits = 0;

	if (!query)
		return 0;
	most = query->fib.tot_len; /* too long */
	for (int i = 0; i < 16; i++) {
		__u32 half = (fits + most) / 2;

		if (half == fits)
			break;
		query->attempt = query->fib;
		query->attempt.tot_len = half;
		if (bpf_fib_lookup(skb, &query->attempt, sizeof(query->attempt), 0) == BPF_FIB_LKUP_RET_FRAG_NEEDED)
			most = half;
		else
			fits = half;
	}
	return fits;
}

/* bpf_fib_lookup(), with `source` also for the source that the kernel would choose. */
static __always_inline long route_lookup(struct __sk_buff *skb, struct slb_fib_query *query, const bool source)
{
	long found = -EINVAL;

	query->has_source = 0;
	if (source) {
		found = bpf_fib_lookup(skb, &query->fib, sizeof(query->fib), ROUTE_SOURCE);
		query->has_source = found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH;
		if (found == ROUTE_NO_SOURCE)
			found = BPF_FIB_LKUP_RET_NO_NEIGH;
	}
	return found == -EINVAL ? bpf_fib_lookup(skb, &query->fib, sizeof(query->fib), 0) : found;
}

/* Sets source and destination of a look-up. */
static __always_inline void route_set_addrs(struct bpf_fib_lookup *fib, const __be32 *saddr, const __be32 *daddr,
					    const enum slb_family family)
{
	if (family == SLB_IP4) {
		fib->ipv4_src = saddr[0];
		fib->ipv4_dst = daddr[0];
	} else {
		addr_copy(fib->ipv6_src, saddr);
		addr_copy(fib->ipv6_dst, daddr);
	}
}

/* The route from `saddr` to `daddr`: CONTINUE; REFUSED_TOO_BIG, for the caller to answer, with route->mtu;
 * DROP_NO_ROUTE. A length of 0 is not checked: it is passed as 1, because for 0 the kernel would check the packet
 * itself. */
static __always_inline __must_check enum slb_verdict route_find(const struct pkt *pkt, struct route *route,
								const __be32 *saddr, const __be32 *daddr, __u32 length,
								const bool source, const enum slb_family family)
{
	struct __sk_buff *skb = pkt->ctx;
	struct slb_fib_query *query = fib_query_get();
	struct bpf_fib_lookup *fib = &query->fib;
	long found;

	if (!query)
		return SLB_DROP_INTERNAL;
	asm volatile("" : "+r"(skb)); /* as in pkt_load() */
	*fib = (struct bpf_fib_lookup){
		.family = family == SLB_IP4 ? AF_INET : AF_INET6,
		.l4_protocol = pkt->tuple->proto,
		.tot_len = length > 0xffff ? 0xffff : length ?: 1,
		.ifindex = skb->ifindex,
	};
	route_set_addrs(fib, saddr, daddr, family);
	found = route_lookup(skb, query, source);
	*route = (struct route){};
	if (found == BPF_FIB_LKUP_RET_NOT_FWDED)
		return SLB_CONTINUE;
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		route->mtu = fib->mtu_result < length ? fib->mtu_result : slb_route_mtu(skb);
		return SLB_REFUSED_TOO_BIG;
	}
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return SLB_DROP_NO_ROUTE;
	route->ifindex = fib->ifindex;
	route->next.nh_family = fib->family; /* RFC 5549: an IPv4 route can have an IPv6 gateway */
	addr_copy(route->next.ipv6_nh, fib->ipv6_dst);
	return SLB_CONTINUE;
}

/* Whether TTL or hop limit end here. */
static __always_inline bool route_ttl_expired(const struct pkt *pkt, const enum slb_family family)
{
	const __u8 *life = at(
		pkt, pkt->l3 + (family == SLB_IP4 ? offsetof(struct iphdr, ttl) : offsetof(struct ipv6hdr, hop_limit)),
		1);

	return !life || *life <= 1;
}

/* Decrements TTL or hop limit, of forwarded packets. False when it ends here. */
static __always_inline __must_check bool route_decrease_ttl(struct pkt *pkt, const enum slb_family family)
{
	if (family == SLB_IP4) {
		struct iphdr *ip = at(pkt, pkt->l3, sizeof(*ip));

		if (!ip || ip->ttl <= 1)
			return false;
		ip->ttl--;
		ip->check = csum_by_diff(ip->check, (__u16)~bpf_htons(0x0100));
	} else {
		struct ipv6hdr *ip = at(pkt, pkt->l3, sizeof(*ip));

		if (!ip || ip->hop_limit <= 1)
			return false;
		ip->hop_limit--;
		bpf_csum_update(pkt->ctx, (__u16)~bpf_htons(0x0001));
	}
	return true;
}

/* Removes VLAN tags, which belong to the input device. The outermost tag is in the skb; popping it moves the next one
 * there from the frame. Headers move by that, and pkt->l3 and pkt->l4 are invalid afterwards. */
static __always_inline __must_check bool route_pop_vlan(struct pkt *pkt)
{
	struct __sk_buff *skb = pkt->ctx;

#pragma unroll
	for (int tag = 0; tag <= SLB_VLAN_DEPTH; tag++) {
		if (!skb->vlan_present && (tag || pkt->l3 == sizeof(struct ethhdr)))
			return true;
		if (bpf_skb_vlan_pop(skb))
			return false;
	}
	return !skb->vlan_present;
}
