/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* New connections: choose source and forwarding, and put the pair of entries into the half-open table. */
#pragma once
#include <linux/errno.h>
#include "../abi/backend.h"
#include "../lib/addr.h"
#include "../lib/flow.h"
#include "../lib/pkt.h"
#include "../maps/draft.h"
#include "policy.h"
#include "route.h"
#include "snat.h"

/* A flow that changes nothing: the stack forwards request and reply. */
static __always_inline void open_untranslated(struct slb_flow *flow, const struct pkt *pkt, __u32 now,
					      const enum slb_hook hook)
{
	*flow = (struct slb_flow){
		.sport = pkt->tuple->sport,
		.dport = pkt->tuple->dport,
		.seen = now,
		.flags = flow_hook_bit(hook) | SLB_FLOW_PEER_AT_EGRESS,
		.created = now,
	};
	addr_copy(flow->saddr, pkt->tuple->saddr);
	addr_copy(flow->daddr, pkt->tuple->daddr);
}

/* The same with the backend as its destination. */
static __always_inline void open_request(struct slb_flow *flow, const struct pkt *pkt,
					 const struct slb_backend *backend, __u32 now, const enum slb_hook hook,
					 const enum slb_family family)
{
	open_untranslated(flow, pkt, now, hook);
	flow->dport = backend->port;
	flow->service = backend->service;
	flow->backend = backend->id;
	addr_unmap(flow->daddr, backend->addr, family);
}

static __always_inline void open_peer_at_ingress(struct slb_flow *flow)
{
	flow->flags = (flow->flags & ~SLB_FLOW_PEER_AT_EGRESS) | SLB_FLOW_PEER_AT_INGRESS;
}

/* A backend that dials its own service must see another source, or it would reply to itself without passing a hook. The
 * source is the service address: no client has it, so the client's port is free there (S-66). */
static __always_inline void open_hairpin(struct slb_flow *flow, const struct pkt *pkt)
{
	flow->forward = flow->peer_forward = SLB_FORWARD_HAIRPIN;
	addr_copy(flow->saddr, pkt->tuple->daddr);
	if (flow->flags & SLB_FLOW_AT_INGRESS) /* the reply passes the same hook */
		open_peer_at_ingress(flow);
}

/* SNAT for a connection of another host, so that replies come back to this node. A backend on this host itself keeps
 * the client's address: its replies pass the egress hook anyway. CONTINUE, or DROP_NO_ROUTE without an address to use.
 */
static __always_inline __must_check enum slb_verdict
open_masqueraded(struct slb_flow *flow, const struct pkt *pkt, const struct route *route, const enum slb_family family)
{
	const struct slb_device *device;

	if (!route->ifindex)
		return SLB_CONTINUE;
	if (slb_config.keep_local) {
		device = device_get(route->ifindex);
		if (device && device->role == SLB_DEV_POD) {
			if (addr_equal(flow->daddr, pkt->tuple->saddr, family))
				open_hairpin(flow, pkt);
			return SLB_CONTINUE;
		}
	}
	if (!snat_address(flow, route->ifindex, family))
		return SLB_DROP_NO_ROUTE;
	flow->forward = flow->peer_forward = SLB_FORWARD_FIB;
	open_peer_at_ingress(flow);
	return SLB_CONTINUE;
}

/* A connection of this host itself, at egress of an uplink, or of lo when the destination is one of its own addresses.
 * The kernel chose the source for the service address; it stays, unless no reply could be routed to it. */
static __always_inline __must_check enum slb_verdict open_own(struct slb_flow *flow, const struct pkt *pkt,
							      const struct route *route, bool masquerade,
							      const enum slb_family family)
{
	flow->ifindex = client_ifindex(pkt, SLB_HOOK_TC_OUT);
	if (!route && addr_equal(flow->daddr, pkt->tuple->saddr, family)) {
		open_hairpin(flow, pkt);
	} else if (!route) {
		flow->peer_forward = SLB_FORWARD_HOST;
		open_peer_at_ingress(flow);
	} else if (route->ifindex) {
		if (masquerade && !snat_address(flow, route->ifindex, family))
			return SLB_DROP_NO_ROUTE;
		flow->forward = SLB_FORWARD_FIB;
		flow->peer_forward = SLB_FORWARD_HOST;
		open_peer_at_ingress(flow);
	} else if (flow->ifindex != SLB_LOOPBACK) {
		flow->forward = flow->peer_forward = SLB_FORWARD_HOST; /* both ends are on this host */
	}
	return SLB_CONTINUE;
}

/* Chooses source and forwarding of a new connection: CONTINUE, or a verdict of route_find(). Without a route, as where
 * forwarding is off, packets of this host itself stay on the route they have. */
static __always_inline __must_check enum slb_verdict open_choose_forward(struct slb_flow *flow, const struct pkt *pkt,
									 const struct policy *policy,
									 const enum slb_hook hook,
									 const enum slb_family family)
{
	const __be32 any[4] = {};
	enum slb_verdict verdict;
	struct route route;
	bool unroutable;

	if (!hook_is_egress(hook) && !policy->masquerade) {
		if (addr_equal(flow->daddr, pkt->tuple->saddr, family))
			open_hairpin(flow, pkt);
		return SLB_CONTINUE;
	}
	/* IPv6 refuses a look-up with source ::1. The route decides which source replaces it. */
	unroutable = hook_is_egress(hook) && snat_unroutable(pkt, family);
	verdict = route_find(pkt, &route, unroutable ? any : pkt->tuple->saddr, flow->daddr, 0, true, family);
	if (hook_is_egress(hook))
		return open_own(flow, pkt, verdict == SLB_CONTINUE ? &route : NULL,
				slb_config.masquerade_all || unroutable, family);
	return verdict == SLB_CONTINUE ? open_masqueraded(flow, pkt, &route, family) : verdict;
}

/* Evicts the entry that has the reply's key, if snat_replaceable() allows that. False when it does not: the entry is
 * new, or in use again, since the port was chosen. */
static __always_inline __must_check bool open_evict(struct slb_draft *draft, __u32 now, const enum slb_family family)
{
	enum slb_tier tier;
	struct slb_flow *holder = flow_live(&draft->key, &tier, family);

	if (!holder)
		return true;
	if (!snat_replaceable(holder, &draft->tuple, now, family))
		return false;
	snat_evict(holder, draft, family);
	return true;
}

/* Puts the reply's entry: 0, or an errno. If another CPU has put the same entry, it opens this very connection: 0. */
static __always_inline long open_reply(struct slb_draft *draft, __u32 now, const enum slb_family family)
{
	const struct slb_flow *winner;
	long error;

	flow_peer_key(&draft->key, &draft->flow, draft->tuple.proto);
	flow_peer(&draft->peer, &draft->flow, &draft->tuple);
	if (!open_evict(draft, now, family))
		return -EEXIST;
	error = flow_put(SLB_TIER_HALF, &draft->key, &draft->peer, BPF_NOEXIST, family);
	if (error != -EEXIST)
		return error;
	winner = flow_get(SLB_TIER_HALF, &draft->key, family);
	return winner && flow_is_peer(winner, &draft->tuple, family) ? 0 : -EEXIST;
}

/* Another CPU has put the request's entry for this tuple first, so its choice of a backend holds: REQUEST, with its
 * entry in the draft. Our reply's entry is deleted, unless both chose the same. */
static __always_inline __must_check enum slb_verdict open_follow(struct slb_draft *draft, const enum slb_family family)
{
	const struct slb_flow *winner = flow_get(SLB_TIER_HALF, &draft->tuple, family);

	if (!winner)
		return SLB_DROP_TABLE_FULL;
	if (winner->sport != draft->flow.sport || winner->dport != draft->flow.dport ||
	    !addr_equal(winner->saddr, draft->flow.saddr, family) ||
	    !addr_equal(winner->daddr, draft->flow.daddr, family))
		flow_delete(SLB_TIER_HALF, &draft->key, family);
	draft->flow = *winner;
	return winner == flow_get(SLB_TIER_HALF, &draft->tuple, family) ? SLB_REQUEST : SLB_DROP_TABLE_FULL;
}

/* See slb_open(). */
static __always_inline __must_check enum slb_verdict open_pair(struct slb_draft *draft, __u32 now,
							       const enum slb_family family)
{
	long error = open_reply(draft, now, family);

	if (error)
		return error == -EEXIST ? SLB_DROP_COLLISION : SLB_DROP_TABLE_FULL;
	error = flow_put(SLB_TIER_HALF, &draft->tuple, &draft->flow, BPF_NOEXIST, family);
	if (error == -EEXIST)
		return open_follow(draft, family);
	if (!error)
		return SLB_CONTINUE;
	flow_delete(SLB_TIER_HALF, &draft->key, family);
	return SLB_DROP_TABLE_FULL;
}

/* Puts the pair of entries in slb_draft, the reply's first: a request whose reply could not be translated must not be
 * sent. CONTINUE when it was put, REQUEST when another CPU was first, DROP_COLLISION when the source port has been
 * taken since it was chosen, DROP_TABLE_FULL. A global function, which the verifier walks once for all callers. */
__noinline int slb_open(__u32 now, __u32 family)
{
	struct slb_draft *draft = draft_get();

	if (!draft)
		return SLB_DROP_INTERNAL;
	if (family == SLB_IP4)
		return open_pair(draft, now, SLB_IP4);
	barrier(); /* as in slb_forget() */
	return open_pair(draft, now, SLB_IP6);
}

/* Puts the new flow. Two CPUs may choose the same SNAT port at once: the one whose entry is first has it, the other one
 * chooses again. Verdicts as of slb_open(); DROP_NO_PORT, and LEFT_TO_TC in XDP, which has no SNAT. */
static __always_inline __must_check enum slb_verdict open_flow(const struct pkt *pkt, struct slb_draft *draft,
							       __u32 now, const enum slb_hook hook,
							       const enum slb_family family)
{
	enum slb_verdict verdict;

	draft->tuple = *pkt->tuple;
	flow_deltas(&draft->flow, pkt->tuple, family);
	verdict = slb_open(now, family);
	if (verdict != SLB_DROP_COLLISION)
		return verdict;
	if (!hook_has_skb(hook))
		return SLB_LEFT_TO_TC;
	if (!snat_find_port(pkt, draft, now, hook, family))
		return SLB_DROP_NO_PORT;
	flow_deltas(&draft->flow, pkt->tuple, family);
	return slb_open(now, family);
}
