/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How a rewritten packet goes on: usually up the stack, which routes it like any other. */
#pragma once
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "../maps/devices.h"
#include "../lib/bounds.h"
#include "parse.h"
#include "route.h"

/* Lets programs and filters behind us see the packet too, which TC_ACT_OK would not. */
#define TC_NEXT TC_ACT_UNSPEC

/* Out of the device the packet came in by; at egress, back into the host it came from. The frame's ends are exchanged.
 * Passing it up instead would not do: its source is a service address, behind which no route to this device leads. */
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

/* In by a device, as if it had come from there. */
static __always_inline __must_check bool forward_ingress(struct pkt *pkt, __u32 ifindex, const enum slb_hook hook)
{
	const struct slb_device *device = device_get(ifindex);
	struct ethhdr *eth;

	if (!device)
		return true; /* not told of it yet: the stack may take the packet as it is */
	if (!route_pop_vlan(pkt))
		return false;
	pkt_load(pkt, hook);
	eth = at(pkt, 0, sizeof(*eth));
	if (!eth)
		return false;
	__builtin_memcpy(eth->h_dest, device->mac, ETH_ALEN); /* else the stack takes it for another host's */
	pkt->action = bpf_redirect(ifindex, BPF_F_INGRESS);
	return pkt->action == TC_ACT_REDIRECT;
}

/* Into this host. Strict reverse-path filtering wants a packet to come in by the device that leads to its source: of a
 * reply that is the one by which the request left, for it was sent there; of a request, lo. */
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
	/* A host's own packet brings its old route along, by which the kernel would send it when a neighbour that had
	 * to be asked for has answered: with no next hop given it looks up the new one itself. */
	pkt->action = hook_is_egress(hook) ? bpf_redirect_neigh(route->ifindex, NULL, 0, 0)
					   : bpf_redirect_neigh(route->ifindex, &next, sizeof(next), 0);
	return pkt->action == TC_ACT_REDIRECT ? SLB_CONTINUE : SLB_DROP_INTERNAL;
}

/* Before the packet is rewritten, so that one that is too big, or has been forwarded too often, can be sent back as it
 * came. ICMP errors, which are not `sized`, are answered with none. */
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
