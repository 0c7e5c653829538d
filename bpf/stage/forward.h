/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Forwards a rewritten packet: usually by the stack, which routes it like any other. */
#pragma once
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "../maps/devices.h"
#include "../lib/bounds.h"
#include "parse.h"
#include "route.h"

/* To the next program or filter (TCX_NEXT). TC_ACT_OK would skip those. */
#define TC_NEXT TC_ACT_UNSPEC

/* Back out of the device that received the packet, or back into the host at egress, with the MAC addresses exchanged.
 * The stack would not forward it: its source is a service address, which no route to this device leads to. False when
 * the redirect failed; so for the functions below. */
static __always_inline __must_check bool forward_hairpin(struct pkt *pkt, const enum slb_hook hook)
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
	pkt->action = bpf_redirect(skb->ifindex, hook_is_egress(hook) ? BPF_F_INGRESS : 0);
	return pkt->action == TC_ACT_REDIRECT;
}

/* Into the host, as received by this device. */
static __always_inline __must_check bool forward_ingress(struct pkt *pkt, __u32 ifindex, const enum slb_hook hook)
{
	const struct slb_device *device = device_get(ifindex);
	struct ethhdr *eth;

	if (!device)
		return true; /* no row yet: leave the packet to the stack */
	if (!route_pop_vlan(pkt))
		return false;
	pkt_load(pkt, hook);
	eth = at(pkt, 0, sizeof(*eth));
	if (!eth)
		return false;
	__builtin_memcpy(eth->h_dest, device->mac, ETH_ALEN); /* else the stack takes it for PACKET_OTHERHOST */
	pkt->action = bpf_redirect(ifindex, BPF_F_INGRESS);
	return pkt->action == TC_ACT_REDIRECT;
}

/* Into this host, past strict rp_filter: it wants the device that the route to the packet's source leads to. For a
 * reply that is the device of the request, for a request lo. */
static __always_inline __must_check bool forward_host(struct pkt *pkt, const struct slb_flow *flow,
						      const enum slb_hook hook)
{
	return forward_ingress(pkt, flow->flags & SLB_FLOW_REPLY ? flow->ifindex : SLB_LOOPBACK, hook);
}

static __always_inline __must_check enum slb_verdict
forward_route(struct pkt *pkt, const struct route *route, const enum slb_hook hook, const enum slb_family family)
{
	struct bpf_redir_neigh next = route->next;

	pkt_load(pkt, hook);
	if (hook_is_ingress(hook) && !route_decrease_ttl(pkt, family))
		return SLB_DROP_TTL;
	if (!route_pop_vlan(pkt))
		return SLB_DROP_INTERNAL;
	/* A packet of this host still has its old dst, which the kernel would use after waiting for neighbour
	 * resolution. Without a next hop bpf_redirect_neigh() looks up the route itself. */
	pkt->action = hook_is_egress(hook) ? bpf_redirect_neigh(route->ifindex, NULL, 0, 0)
					   : bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
	return pkt->action == TC_ACT_REDIRECT ? SLB_CONTINUE : SLB_DROP_INTERNAL;
}

/* Finds the route before the rewrite, so that an ICMP error can quote the packet as received. `sized`: check MTU and
 * TTL; not for ICMP errors, which no ICMP error may answer. CONTINUE, REFUSED_TTL, REFUSED_TOO_BIG or DROP_NO_ROUTE. */
static __always_inline __must_check enum slb_verdict forward_find(struct pkt *pkt, const struct slb_flow *flow,
								  struct route *route, const bool sized,
								  const enum slb_hook hook,
								  const enum slb_family family)
{
	enum slb_verdict verdict;

	if (!hook_has_skb(hook) || flow->forward != SLB_FORWARD_FIB)
		return SLB_CONTINUE;
	if (sized && hook_is_ingress(hook) && route_ttl_expired(pkt, family))
		return SLB_REFUSED_TTL;
	verdict = route_find(pkt, route, flow->saddr, flow->daddr, sized ? route_length(pkt) : 0, false, family);
	return verdict == SLB_CONTINUE && !route->ifindex ? SLB_DROP_NO_ROUTE : verdict;
}

/* CONTINUE with pkt->action set, or a verdict that drops the packet. */
static __always_inline __must_check enum slb_verdict forward(struct pkt *pkt, const struct slb_flow *flow,
							     const struct route *route, const enum slb_hook hook,
							     const enum slb_family family)
{
	pkt->action = TC_NEXT;
	if (!hook_has_skb(hook) || flow->forward == SLB_FORWARD_STACK)
		return SLB_CONTINUE;
	if (flow->forward == SLB_FORWARD_FIB)
		return forward_route(pkt, route, hook, family);
	if (flow->forward == SLB_FORWARD_HOST)
		return forward_host(pkt, flow, hook) ? SLB_CONTINUE : SLB_DROP_INTERNAL;
	return forward_hairpin(pkt, hook) ? SLB_CONTINUE : SLB_DROP_INTERNAL;
}
