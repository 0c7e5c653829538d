/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Promotion of a half-open flow, once its client has confirmed the answer. */
#pragma once
#include "../maps/draft.h"
#include "track.h"

/* Whether a request shows that its client has received the answer: TCP and SCTP say so, of UDP any datagram after the
 * first reply does. */
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

/* The two entries are put there, then deleted here; a packet that looks there before and here afterwards looks again,
 * for the move has been counted (flow_live()). */
static __always_inline __must_check bool promote_move(struct slb_draft *draft, __u32 now, const enum slb_family family)
{
	const struct slb_flow *half = flow_get(SLB_TIER_HALF, &draft->tuple, family), *reply;
	struct slb_flow *request = &draft->flow;

	if (!half)
		return true;
	*request = *half;
	/* The LRU may have given its memory to another key meanwhile. */
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
		/* Put just now: no other CPU holds it for longer than it takes to read it. */
		flow_delete(SLB_TIER_ESTABLISHED, &draft->tuple, family);
		return false;
	}
	flow_moved();
	flow_delete(SLB_TIER_HALF, &draft->tuple, family);
	flow_delete(SLB_TIER_HALF, &draft->key, family);
	return true;
}

/* The established table is full: the pair lives on half-open, as long as an assured flow does. */
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

/* Moves the half-open flow with the tuple in slb_draft to the table that nothing is evicted from; 0 when that is full.
 * A function of its own, which the verifier walks once for all callers. */
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

/* At its client's confirmation. False when the table is full. Entries of the half-open table must not be read
 * afterwards. */
static __always_inline __must_check bool promote(const struct pkt *pkt, __u32 now, const enum slb_family family)
{
	return draft_set_tuple(pkt->tuple) && slb_promote(now, family);
}
