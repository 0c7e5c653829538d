/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reverse-path filter (RFC 3704). Packets that are redirected or answered here never reach the kernel's rp_filter, so
 * this checks their source as strictly, once per connection. In tc only. */
#pragma once
#include <linux/if_ether.h>
#include "../abi/frontend.h"
#include "../lib/addr.h"
#include "../lib/bounds.h"
#include "../maps/fibquery.h"
#include "../maps/devices.h"
#include "lookup.h"
#include "parse.h"
#include "route.h"

enum rp_filter { RP_FILTER_OFF, RP_FILTER_STRICT, RP_FILTER_LOOSE }; /* as the sysctl rp_filter */

#define RPFILTER_OUTPUT	   (1u << 1) /* BPF_FIB_LOOKUP_OUTPUT: routes by this device alone */
#define RPFILTER_ATTEMPTS  16	     /* look-ups of a multipath route */
#define RPFILTER_INNER_TAG 0x1000    /* no VLAN id: more tags than one */

/* Looks up slb_fib_query as received by this device. Returns the ifindex of the route to the source; 0: no route; -1:
 * unknown, because forwarding is off at that device. */
static __always_inline long rpfilter_lookup(struct __sk_buff *skb, struct slb_fib_query *query, __u32 ifindex,
					    __u32 flags)
{
	struct bpf_fib_lookup *fib = &query->attempt;
	long found;

	*fib = query->fib;
	fib->ifindex = ifindex;
	found = bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
	if (found == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return -1;
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ? fib->ifindex : 0;
}

/* Whether a route to the source by this device validates the packet. */
static __always_inline bool rpfilter_is_behind(const struct slb_fib_query *query, long ifindex)
{
	const struct slb_device *device;

	if (ifindex <= 0)
		return false;
	if (query->filter == RP_FILTER_LOOSE || query->vlan == RPFILTER_INNER_TAG)
		return true;
	if (ifindex == query->expected && !query->vlan)
		return true;
	device = device_get(ifindex);
	return device && device->lower == query->expected && device->vlan == query->vlan;
}

/* Whether the route to the source is a multipath route with the input device among its next hops. A look-up returns one
 * next hop, by a hash that includes the source, so it is repeated with random sources. A look-up by the input device
 * alone is not enough: it may find a less specific route. */
static __always_inline bool rpfilter_multipath(struct __sk_buff *skb, struct slb_fib_query *query)
{
	if (query->filter != RP_FILTER_STRICT || query->vlan || query->fib.family != AF_INET ||
	    rpfilter_lookup(skb, query, query->expected, RPFILTER_OUTPUT) != query->expected)
		return false;
#pragma clang loop unroll(disable)
	for (int attempt = 0; attempt < RPFILTER_ATTEMPTS; attempt++) {
		query->fib.ipv4_src = bpf_get_prandom_u32();
		if (rpfilter_lookup(skb, query, SLB_LOOPBACK, 0) == query->expected)
			return true;
	}
	return false;
}

/* Sources that are martian also with rp_filter off: 0.0.0.0/8, multicast and broadcast (RFC 1812, 5.3.7), and addresses
 * of this host. */
static __always_inline bool rpfilter_martian(struct slb_fib_query *query)
{
	const __be32 *from = query->fib.ipv6_dst; /* the first word is ipv4_dst */
	const struct slb_frontend *row;

	query->address = (struct slb_frontend_key){};
	if (query->fib.family == AF_INET) {
		__u32 first = bpf_ntohl(from[0]) >> 24;

		if (!first || first >> 4 == 0xe || from[0] == 0xffffffff)
			return true;
		addr_map(query->address.addr, from, SLB_IP4);
	} else {
		if (bpf_ntohl(from[0]) >> 24 == 0xff || !(from[0] | from[1] | from[2] | from[3]))
			return true;
		addr_map(query->address.addr, from, SLB_IP6);
	}
	row = frontend_get(&query->address);
	return row && row->flags & SLB_ADDR_NODE;
}

/* The VLAN id of the packet; 0: none, or a priority tag. */
static __always_inline __u32 rpfilter_vlan(struct __sk_buff *skb, __u32 l3)
{
	__be16 tag;

	if (skb->vlan_present)
		return l3 == sizeof(struct ethhdr) ? skb->vlan_tci & 0xfff : RPFILTER_INNER_TAG;
	if (l3 == sizeof(struct ethhdr))
		return 0;
	if (l3 != sizeof(struct ethhdr) + 4 || bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &tag, sizeof(tag)))
		return RPFILTER_INNER_TAG;
	return bpf_ntohs(tag) & 0xfff;
}

/* Sets how to check the source in slb_fib_query, and returns it. Map memory, so that the verifier tracks no values. */
static __always_inline __u32 rpfilter_mode(struct __sk_buff *skb, struct slb_fib_query *query, __u32 l3)
{
	const struct slb_device *device = device_get(skb->ifindex);

	if (!device) /* no row yet */
		return RP_FILTER_OFF;
	query->expected = device->bridge ? device->bridge : skb->ifindex;
	query->vlan = rpfilter_vlan(skb, l3);
	query->filter = query->fib.family == AF_INET ? device->rp_filter : device->rp_filter6;
	/* A link-local address does not tell its link. */
	if (query->fib.family == AF_INET6 && (bpf_ntohl(query->fib.ipv6_dst[0]) & 0xffc00000) == 0xfe800000)
		query->filter = RP_FILTER_OFF;
	return query->filter;
}

/* 1 when the source of the packet, which is the destination in slb_fib_query, can be behind the input device. A global
 * function, which the verifier walks once for all callers. */
__noinline int slb_rpfilter(struct __sk_buff *skb, __u32 l3)
{
	struct slb_fib_query *query = fib_query_get();
	long found;

	if (!query || rpfilter_martian(query))
		return 0;
	if (rpfilter_mode(skb, query, l3) == RP_FILTER_OFF)
		return 1;
	/* fib_validate_source() looks up with lo as the input device, and with the VRF where the device is in one. */
	if (rpfilter_is_behind(query, rpfilter_lookup(skb, query, SLB_LOOPBACK, 0)))
		return 1;
	found = rpfilter_lookup(skb, query, query->expected, 0);
	return found < 0 || rpfilter_is_behind(query, found) || rpfilter_multipath(skb, query);
}

/* Whether the source of the packet passes the reverse-path filter. At ingress. */
static __always_inline __must_check bool rpfilter_passes(const struct pkt *pkt, const enum slb_family family)
{
	struct slb_fib_query *query = fib_query_get();
	struct bpf_fib_lookup *fib = &query->fib;

	if (!query)
		return false;
	*fib = (struct bpf_fib_lookup){.family = family == SLB_IP4 ? AF_INET : AF_INET6, .tot_len = 1};
	route_set_addrs(fib, pkt->tuple->daddr, pkt->tuple->saddr, family);
	return slb_rpfilter(pkt->ctx, pkt->l3);
}
