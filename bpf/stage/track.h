/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Known connections: find the flow of a packet, keep it alive, move it to the table it has earned. */
#pragma once
#include "../maps/backends.h"
#include "../maps/draft.h"
#include "../maps/services.h"
#include "flow.h"
#include "parse.h"

struct found {
	struct slb_flow *flow; /* NULL: none that may be used */
	enum slb_tier tier;
};

static __always_inline bool tcp_opens(const struct pkt *pkt)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Neither an answer to a SYN nor a reset: those open nothing, and are not resumed. */
static __always_inline bool tcp_may_be_request(const struct pkt *pkt)
{
	return !(pkt->tcp_flags & (TCP_SYN | TCP_RST)) || tcp_opens(pkt);
}

/* A SYN-ACK on a connection that has ended answers another one: the client has dialled the backend itself from the port
 * that it had dialled the service from. (A new dial of the service would have replaced the entry.) */
static __always_inline bool track_foreign(const struct pkt *pkt, const struct slb_flow *flow)
{
	return pkt->connected && (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
	       flow->flags & SLB_FLOW_REPLY && flow_closing(flow);
}

/* Direct talk that was given another port has no backend to lose. */
static __always_inline bool track_orphaned(const struct slb_flow *flow)
{
	return flow->service && !backend_get(flow->backend);
}

/* A request may need a new backend although its flow is alive: a client that dials again from the same port, or a
 * UDP flow whose backend has gone while there are others (S-90), or together with its service: the address may be
 * another's by now (S-20). Without others it may as well stay where it is. TCP does until it ends (S-89). */
static __always_inline bool track_outdated(const struct pkt *pkt, const struct slb_flow *flow)
{
	if (flow->flags & SLB_FLOW_REPLY)
		return false;
	if (pkt->connected)
		return tcp_opens(pkt) && (flow_closing(flow) || track_orphaned(flow));
	return track_orphaned(flow) && !service_deserted(flow->service);
}

/* The entry of the other direction; NULL when it is gone, or has meanwhile become another connection's. */
static __always_inline struct slb_flow *track_partner(const struct pkt *pkt, const struct slb_flow *flow,
						      const enum slb_family family)
{
	struct slb_flow_key6 key;
	struct slb_flow *partner;

	flow_partner_key(&key, flow, pkt->tuple->proto);
	partner = flow_get(SLB_TIER_ESTABLISHED, &key, family);
	if (!partner)
		partner = flow_get(SLB_TIER_HALF, &key, family);
	return partner && flow_answers(partner, pkt->tuple, family) ? partner : NULL;
}

/* Deletes a flow and its partner in both tables. */
static __always_inline void track_forget(const struct pkt *pkt, const struct slb_flow *flow,
					 const enum slb_family family)
{
	struct slb_flow_key6 key;

	if (track_partner(pkt, flow, family)) {
		flow_partner_key(&key, flow, pkt->tuple->proto);
		flow_delete(SLB_TIER_ESTABLISHED, &key, family);
		flow_delete(SLB_TIER_HALF, &key, family);
	}
	flow_delete(SLB_TIER_ESTABLISHED, pkt->tuple, family);
	flow_delete(SLB_TIER_HALF, pkt->tuple, family);
}

/* Expiry is decided here and not by a timer, so it holds with no agent running. An entry that has expired is deleted by
 * the packet that meets it, which may be a request from where replies came from before; one that is outdated by the
 * request that will replace it, or by a reply that shows it to be in the way of another connection. */
static __always_inline struct found track_find(const struct pkt *pkt, __u32 now, const enum slb_hook hook,
					       const enum slb_family family)
{
	struct found found = {.flow = flow_get(SLB_TIER_ESTABLISHED, pkt->tuple, family)};
	bool foreign, expired;

	if (!found.flow) {
		found.flow = flow_get(SLB_TIER_HALF, pkt->tuple, family);
		found.tier = SLB_TIER_HALF;
	}
	if (!found.flow)
		return found;
	foreign = hook != SLB_HOOK_XDP && track_foreign(pkt, found.flow); /* XDP leaves replies to tc */
	expired = flow_expired(found.flow, pkt->tuple->proto, now);
	if (foreign || expired || track_outdated(pkt, found.flow)) {
		if (foreign || expired || !(found.flow->flags & SLB_FLOW_REPLY))
			track_forget(pkt, found.flow, family);
		found.flow = NULL;
	}
	return found;
}

/* At most once a second: a write per packet would bounce the cache line between CPUs. Both directions are stamped, so
 * that neither expires while the other is in use, and a partner that the LRU evicted comes back. */
static __always_inline void track_refresh(const struct pkt *pkt, struct found *found, __u32 now,
					  const enum slb_family family)
{
	struct slb_flow *partner = track_partner(pkt, found->flow, family);
	struct slb_draft *draft;
	struct slb_flow_key6 key;

	found->flow->seen = now;
	if (partner) {
		partner->seen = now;
		return;
	}
	draft = draft_get();
	if (!draft)
		return;
	flow_partner_key(&key, found->flow, pkt->tuple->proto);
	flow_partner(&draft->partner, found->flow, pkt->tuple);
	if (found->tier == SLB_TIER_ESTABLISHED)
		flow_put(SLB_TIER_ESTABLISHED, &key, &draft->partner, BPF_NOEXIST, family);
	else
		flow_put(SLB_TIER_HALF, &key, &draft->partner, BPF_NOEXIST, family);
}

/* FIN and RST are noted on both entries, each of which decides by itself how long it lives. */
static __always_inline void track_close(const struct pkt *pkt, struct slb_flow *flow, const enum slb_family family)
{
	bool fin = pkt->tcp_flags & TCP_FIN, rst = pkt->tcp_flags & TCP_RST;
	struct slb_flow *partner;

	if ((!fin || flow->fin) && (!rst || flow->rst))
		return;
	partner = track_partner(pkt, flow, family);
	if (fin)
		flow->fin = 1;
	if (rst)
		flow->rst = 1;
	if (partner && fin)
		partner->peer_fin = 1;
	if (partner && rst)
		partner->rst = 1;
}

/* Moves a half-open flow that its backend has answered to the table that nothing is evicted from: put both there, then
 * delete both here, so that at no moment a packet finds neither. False when that table is full. The entry in
 * the half-open table must not be read afterwards: the LRU may give its memory to another key at once. It may have done
 * so already, on another CPU: then the copy is not of the flow that has just been sent, and is let go. */
static __always_inline __must_check bool track_promote(const struct pkt *pkt, struct slb_flow *half, __u32 now,
						       const enum slb_family family)
{
	struct slb_draft *draft = draft_get();
	struct slb_flow_key6 key;

	if (!draft)
		return false;
	draft->flow = *half;
	if (draft->flow.backend != pkt->backend || draft->flow.dport != pkt->tuple->dport)
		return true;
	draft->flow.flags |= SLB_FLOW_ANSWERED;
	draft->flow.seen = now;
	flow_partner_key(&key, &draft->flow, pkt->tuple->proto);
	flow_partner(&draft->partner, &draft->flow, pkt->tuple);
	if (flow_put(SLB_TIER_ESTABLISHED, pkt->tuple, &draft->flow, BPF_ANY, family))
		return false;
	if (flow_put(SLB_TIER_ESTABLISHED, &key, &draft->partner, BPF_ANY, family)) {
		flow_delete(SLB_TIER_ESTABLISHED, pkt->tuple, family);
		return false;
	}
	flow_delete(SLB_TIER_HALF, pkt->tuple, family);
	flow_delete(SLB_TIER_HALF, &key, family);
	return true;
}

/* The established table is full: the pair lives on half-open, as long as an answered flow does. Only replies write
 * these flags once a flow is made, so nothing is lost between reading and writing them. */
static __always_inline void track_stay(const struct pkt *pkt, struct slb_flow *half, const enum slb_family family)
{
	struct slb_flow *partner = track_partner(pkt, half, family);

	half->flags |= SLB_FLOW_ANSWERED;
	if (partner)
		partner->flags |= SLB_FLOW_ANSWERED;
}
