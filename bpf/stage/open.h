/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* New connections: make the pair of entries and put it in the half-open table. */
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

/* A request that the stack sends on as it is, and whose reply it sends back. */
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

/* The same, to this backend. */
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

/* A backend that reaches itself must see another source, or it would answer itself directly: the service address, which
 * only Sluice answers for, so the client's port cannot clash there (S-66). */
static __always_inline void open_hairpin(struct slb_flow *flow, const struct pkt *pkt)
{
	flow->forward = flow->peer_forward = SLB_FORWARD_HAIRPIN;
	addr_copy(flow->saddr, pkt->tuple->daddr);
	if (flow->flags & SLB_FLOW_AT_INGRESS) /* both directions turn at the same hook */
		open_peer_at_ingress(flow);
}

/* Another host's connection whose replies must come back here. A backend on this very host needs nothing: it answers
 * through our egress hook anyway, and it is better that it sees its client. */
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

/* This host's own connection, met where it would leave: at an uplink, or at lo when it dialled one of its own
 * addresses. Its source was chosen for the service address; it does for the backend too, unless no reply could find it.
 */
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
		flow->forward = flow->peer_forward =
			SLB_FORWARD_HOST; /* both ends here: the reply leaves by lo, at egress */
	}
	return SLB_CONTINUE;
}

/* Decides source, port and way of a new connection. Where forwarding is off no route can be asked for: what this host
 * itself sends then goes where it was going, which is as good as any other way. */
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
	/* IPv6 has no route for packets from ::1. The source that replaces it follows from the route. */
	unroutable = hook_is_egress(hook) && snat_unroutable(pkt, family);
	verdict = route_find(pkt, &route, unroutable ? any : pkt->tuple->saddr, flow->daddr, 0, true, family);
	if (hook_is_egress(hook))
		return open_own(flow, pkt, verdict == SLB_CONTINUE ? &route : NULL,
				slb_config.masquerade_all || unroutable, family);
	return verdict == SLB_CONTINUE ? open_masqueraded(flow, pkt, &route, family) : verdict;
}

/* Ends what holds the reply's key, if it may give way; see snat_port_free(). False when it may not: it has come to
 * life, or been put, since the port was chosen. */
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

/* Puts the reply's entry. EEXIST is no failure when another CPU has put the same: it opens this very connection. */
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

/* Another CPU has put a request's entry for this tuple first: its choice holds, and what was put of ours goes, unless
 * both chose alike. REQUEST: the draft is now what it chose. */
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

/* Keeps the connection in slb_draft. The reply goes in first: a request whose answer could not be translated must not
 * be sent. CONTINUE when it was kept, REQUEST when another CPU has done so, DROP_COLLISION when its port has been taken
 * since it was chosen. A function of its own, which the verifier walks once for all callers. */
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

/* Two CPUs may choose one port at once, of two clients whose connections are masqueraded alike: the entry tells which
 * was first, and the other one chooses again. */
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
