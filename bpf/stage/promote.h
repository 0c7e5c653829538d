/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Promotion of a half-open flow, once its client has confirmed the answer. */
#pragma once
#include "../maps/draft.h"
#include "track.h"

/* Whether a request confirms the reply: TCP and SCTP by their numbers, UDP by any datagram after the first reply. */
static __always_inline bool promote_due(const struct pkt *pkt, const struct slb_flow *flow)
{
	if (!pkt->conn_oriented)
		return true;
	if ((pkt->tcp_flags & (TCP_ACK | TCP_SYN | TCP_RST)) != TCP_ACK)
		return false;
	if (pkt->tuple->proto == IPPROTO_TCP)
		return track_ack(pkt) - flow->ack < TRACK_WINDOW;
	return track_ack(pkt) == flow->ack;
}

/* Puts both entries into the established table, then deletes the half-open ones. A look-up on another CPU that falls in
 * between repeats, because slb_moves has changed (flow_live()). False when the established table is full. */
static __always_inline __must_check bool promote_move(struct slb_draft *draft, __u32 now, const enum slb_family family)
{
	const struct slb_flow *half = flow_get(SLB_TIER_HALF, &draft->tuple, family), *reply;
	struct slb_flow *request = &draft->flow;

	if (!half)
		return true;
	*request = *half;
	/* Else the LRU has given the memory to another key during the copy. */
	if (flow_get(SLB_TIER_HALF, &draft->tuple, family) != half)
		return true;
	request->flags |= SLB_FLOW_ASSURED;
	request->dead = 0;
	request->seen = now;
	flow_peer_key(&draft->key, request, draft->tuple.proto);
	flow_peer(&draft->peer, request, &draft->tuple);
	reply = flow_get(SLB_TIER_HALF, &draft->key, family);
	if (reply && flow_is_peer(reply, &draft->tuple, family))
		draft->peer.ack = reply->ack;
	if (flow_put(SLB_TIER_ESTABLISHED, &draft->tuple, request, BPF_ANY, family))
		return false;
	if (flow_put(SLB_TIER_ESTABLISHED, &draft->key, &draft->peer, BPF_ANY, family)) {
		/* Deleted, other than by flow_end(): no CPU writes to an entry that is this new. */
		flow_delete(SLB_TIER_ESTABLISHED, &draft->tuple, family);
		return false;
	}
	flow_moved();
	flow_delete(SLB_TIER_HALF, &draft->tuple, family);
	flow_delete(SLB_TIER_HALF, &draft->key, family);
	return true;
}

/* The established table is full: the pair stays half-open, with the lifetime of an assured flow. */
static __always_inline void promote_in_place(struct slb_draft *draft, const enum slb_family family)
{
	struct slb_flow *half = flow_get(SLB_TIER_HALF, &draft->tuple, family), *peer;

	if (!half)
		return;
	half->flags |= SLB_FLOW_ASSURED;
	peer = track_peer(draft, half, family);
	if (peer)
		peer->flags |= SLB_FLOW_ASSURED;
}

static __always_inline __must_check bool promote_pair(struct slb_draft *draft, __u32 now, const enum slb_family family)
{
	if (promote_move(draft, now, family))
		return true;
	promote_in_place(draft, family);
	return false;
}

/* Moves the half-open flow with the tuple in slb_draft to the established table; 0 when that is full. */
__noinline int slb_promote(__u32 now, __u32 family)
{
	struct slb_draft *draft = draft_get();

	if (!draft)
		return 0;
	if (family == SLB_IP4)
		return promote_pair(draft, now, SLB_IP4);
	barrier(); /* as in slb_forget() */
	return promote_pair(draft, now, SLB_IP6);
}

/* Promotes the flow of a request that confirms the reply. False when the established table is full. Pointers to
 * half-open entries are invalid afterwards. */
static __always_inline __must_check bool promote(const struct pkt *pkt, __u32 now, const enum slb_family family)
{
	return draft_set_tuple(pkt->tuple) && slb_promote(now, family);
}
