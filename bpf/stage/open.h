/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* New connections: make the pair of entries and put it in the half-open table. */
#pragma once
#include <linux/errno.h>
#include "../abi/backend.h"
#include "../maps/draft.h"
#include "flow.h"
#include "pkt.h"
#include "policy.h"
#include "route.h"
#include "snat.h"

/* A request that the stack sends on as it is, and whose reply it sends back. */
static __always_inline void open_as_is(struct slb_flow *flow, const struct pkt *pkt, __u32 now,
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
	open_as_is(flow, pkt, now, hook);
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
	flow->way = flow->peer_way = SLB_WAY_BOUNCE;
	addr_copy(flow->saddr, pkt->tuple->daddr);
	if (flow->flags & SLB_FLOW_AT_INGRESS) /* both directions turn at the same hook */
		open_peer_at_ingress(flow);
}

/* Somebody else's connection whose replies must come back here. A backend on this very host needs nothing: it answers
 * through our egress hook anyway, and it is better that it knows whom. */
static __always_inline __must_check enum slb_verdict open_masqueraded(struct slb_flow *flow, const struct route *route,
								      const enum slb_family family)
{
	if (!route->ifindex)
		return SLB_CONTINUE;
	if (!snat_address(flow, route->ifindex, family))
		return SLB_DROP_NO_ROUTE;
	flow->way = flow->peer_way = SLB_WAY_ROUTE;
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
		flow->peer_way = SLB_WAY_HOST;
		open_peer_at_ingress(flow);
	} else if (route->ifindex) {
		if (masquerade && !snat_address(flow, route->ifindex, family))
			return SLB_DROP_NO_ROUTE;
		flow->way = SLB_WAY_ROUTE;
		flow->peer_way = SLB_WAY_HOST;
		open_peer_at_ingress(flow);
	} else if (flow->ifindex != SLB_LOOPBACK) {
		flow->way = flow->peer_way = SLB_WAY_HOST; /* both ends here: the reply leaves by lo, at egress */
	}
	return SLB_CONTINUE;
}

/* Decides source, port and way of a new connection. Where forwarding is off no route can be asked for: what this host
 * itself sends then goes where it was going, which is as good as any other way. */
static __always_inline __must_check enum slb_verdict open_way(struct slb_flow *flow, const struct pkt *pkt,
							      const struct policy *policy, const enum slb_hook hook,
							      const enum slb_family family)
{
	const __be32 anybody[4] = {};
	enum slb_verdict verdict;
	struct route route;
	bool unroutable;

	if (hook != SLB_HOOK_TC_OUT && !policy->masquerade) {
		if (addr_equal(flow->daddr, pkt->tuple->saddr, family))
			open_hairpin(flow, pkt);
		return SLB_CONTINUE;
	}
	/* IPv6 has no route for packets from ::1. The source that replaces it follows from the route. */
	unroutable = hook == SLB_HOOK_TC_OUT && snat_unroutable(pkt, family);
	verdict = route_find(pkt, &route, unroutable ? anybody : pkt->tuple->saddr, flow->daddr, 0, family);
	if (hook == SLB_HOOK_TC_OUT)
		return open_own(flow, pkt, verdict == SLB_CONTINUE ? &route : NULL,
				slb_config.masquerade_all || unroutable, family);
	return verdict == SLB_CONTINUE ? open_masqueraded(flow, &route, family) : verdict;
}

/* What holds this key has ended, see snat_free(). Its requests, which would now be taken for ours, end too. */
static __always_inline void open_evict(const struct pkt *pkt, const struct slb_flow_key6 *key,
				       const enum slb_family family)
{
	const struct slb_flow *holder = flow_get(SLB_TIER_ESTABLISHED, key, family);
	struct slb_flow_key6 request;

	if (!holder)
		holder = flow_get(SLB_TIER_HALF, key, family);
	if (!holder)
		return;
	if (!flow_answers(holder, pkt->tuple, family)) {
		flow_partner_key(&request, holder, key->proto);
		flow_delete(SLB_TIER_ESTABLISHED, &request, family);
		flow_delete(SLB_TIER_HALF, &request, family);
	}
	flow_delete(SLB_TIER_ESTABLISHED, key, family);
	flow_delete(SLB_TIER_HALF, key, family);
}

/* The reply goes in first: a request whose answer could not be translated must not be sent. Losing a race for the
 * request's entry is well if the other CPU has put the same; with another port it has not, and the sender tries again.
 */
static __always_inline __must_check enum slb_verdict open_flow(const struct pkt *pkt, struct slb_draft *draft,
							       const enum slb_family family)
{
	const struct slb_flow *request = &draft->flow;
	struct slb_flow_key6 key;
	long error;

	flow_partner_key(&key, request, pkt->tuple->proto);
	flow_partner(&draft->partner, request, pkt->tuple);
	open_evict(pkt, &key, family);
	error = flow_put(SLB_TIER_HALF, &key, &draft->partner, BPF_NOEXIST, family);
	if (error && error != -EEXIST)
		return SLB_DROP_TABLE_FULL;
	error = flow_put(SLB_TIER_HALF, pkt->tuple, request, BPF_NOEXIST, family);
	if (!error)
		return SLB_CONTINUE;
	if (error == -EEXIST && request->sport == pkt->tuple->sport)
		return SLB_CONTINUE;
	flow_delete(SLB_TIER_HALF, &key, family);
	return error == -EEXIST ? SLB_DROP_COLLISION : SLB_DROP_TABLE_FULL;
}
