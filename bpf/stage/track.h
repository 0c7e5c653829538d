/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connection tracking: find the flow of a packet, refresh it, follow its state, promote it to the established table. */
#pragma once
#include "../maps/backends.h"
#include "../maps/draft.h"
#include "../maps/counters.h"
#include "../maps/services.h"
#include "../lib/flow.h"
#include "parse.h"

struct found {
	struct slb_flow *flow; /* NULL: none, or none that may be used */
	enum slb_tier tier;
};

/* SYN, or an SCTP INIT. */
static __always_inline bool tcp_opens(const struct pkt *pkt)
{
	return (pkt->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* Anything but SYN-ACK and RST: those open no connection, and do not resume one whose flow is lost. */
static __always_inline bool tcp_may_be_request(const struct pkt *pkt)
{
	return !(pkt->tcp_flags & (TCP_SYN | TCP_RST)) || tcp_opens(pkt);
}

/* A SYN-ACK on a flow that is closing belongs to another connection: the client has dialled the backend directly, from
 * the port that it had dialled the service from. (A SYN to the service would have replaced the entry.) */
static __always_inline bool track_foreign(const struct pkt *pkt, const struct slb_flow *flow)
{
	return pkt->conn_oriented && (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
	       flow->flags & SLB_FLOW_REPLY && flow_closing(flow);
}

/* Whether the backend of the flow is gone. Direct connections that got another source port have no service. */
static __always_inline bool track_orphaned(const struct slb_flow *flow)
{
	return flow->service && !backend_get(flow->backend);
}

/* Whether a request needs a new backend although its flow is alive. TCP: a new connection from the same port, for TCP
 * stays with its backend until it ends (S-89). UDP: the backend is gone, and so is its service, whose address may
 * belong to another now (S-20), or there are other backends (S-90). */
static __always_inline bool track_outdated(const struct pkt *pkt, const struct slb_flow *flow)
{
	if (flow->flags & SLB_FLOW_REPLY)
		return false;
	if (pkt->conn_oriented)
		return tcp_opens(pkt) && (flow_closing(flow) || track_orphaned(flow));
	return track_orphaned(flow) && !service_is_empty(flow->service);
}

/* The entry of the other direction of the packet in slb_draft; NULL when it is gone, or its key is another connection's
 * by now. */
static __always_inline struct slb_flow *track_peer(struct slb_draft *draft, const struct slb_flow *flow,
						   const enum slb_family family)
{
	struct slb_flow *peer;
	enum slb_tier tier;

	flow_peer_key(&draft->key, flow, draft->tuple.proto);
	peer = flow_live(&draft->key, &tier, family);
	return peer && flow_is_peer(peer, &draft->tuple, family) ? peer : NULL;
}

static __always_inline void track_end(struct slb_draft *draft, const enum slb_family family)
{
	enum slb_tier tier;
	struct slb_flow *flow = flow_live(&draft->tuple, &tier, family), *peer;

	if (!flow)
		return;
	peer = track_peer(draft, flow, family);
	if (peer)
		flow_end(peer, &draft->key, family);
	flow_end(flow, &draft->tuple, family);
}

/* Ends the flow with the tuple in slb_draft in both directions. A global function, which the verifier walks once for
 * all callers; so are the others of this file. */
__noinline int slb_forget(__u32 family)
{
	struct slb_draft *draft = draft_get();

	if (!draft)
		return 0;
	if (family == SLB_IP4) {
		track_end(draft, SLB_IP4);
		return 0;
	}
	barrier(); /* else the compiler merges the loads of both families, and spills them */
	track_end(draft, SLB_IP6);
	return 0;
}

static __always_inline void track_forget(const struct pkt *pkt, const enum slb_family family)
{
	if (draft_set_tuple(pkt->tuple))
		slb_forget(family);
}

/* The flow of a packet, if it may be used. Flows expire when they are looked up, so no agent has to run. The packet
 * that finds an expired entry ends it; an outdated one is ended by the request that replaces it, a foreign one by the
 * reply that shows it to be another connection's. */
static __always_inline struct found track_find(const struct pkt *pkt, __u32 now, const enum slb_hook hook,
					       const enum slb_family family)
{
	struct found found = {};
	__u32 before = pkt->moves;
	bool foreign, expired;

	if (!pkt->unknown)
		found.flow = flow_established(pkt->tuple, &before, family);
	if (!found.flow)
		found.flow = flow_half(pkt->tuple, before, &found.tier, family);
	if (!found.flow)
		return found;
	foreign = hook_has_skb(hook) && track_foreign(pkt, found.flow); /* XDP leaves replies to tc */
	expired = flow_expired(found.flow, pkt->tuple->proto, now);
	if (foreign || expired || track_outdated(pkt, found.flow)) {
		if (foreign || expired || !(found.flow->flags & SLB_FLOW_REPLY))
			track_forget(pkt, family);
		found.flow = NULL;
	}
	return found;
}

/* Sequence numbers up to this far past the last acknowledged one are valid: more than can be in flight. A blind guess
 * is within it once in 4096 times. */
#define TRACK_WINDOW (1u << 20)

/* The fields of a segment that matter for the state, in host order. */
struct segment {
	__u32 flags; /* of TCP; for SCTP see sctp_as_tcp() */
	__u32 seq;   /* SCTP: the initiate tag of an INIT or INIT ACK, else 0 */
	__u32 ack;   /* TCP: acknowledgement number; SCTP: verification tag */
};

/* A word of the transport header in host order, 0 when the packet ends before. */
static __always_inline __u32 track_word(const struct pkt *pkt, __u32 offset)
{
	const __be32 *word = at(pkt, pkt->l4 + offset, sizeof(*word));

	return word ? bpf_ntohl(*word) : 0;
}

static __always_inline __u32 track_seq(const struct pkt *pkt)
{
	if (pkt->tuple->proto == IPPROTO_TCP)
		return track_word(pkt, offsetof(struct tcphdr, seq));
	return pkt->tcp_flags & TCP_SYN ? track_word(pkt, sizeof(struct sctp_header) + SCTP_CHUNK) : 0;
}

static __always_inline __u32 track_ack(const struct pkt *pkt)
{
	return track_word(pkt, pkt->tuple->proto == IPPROTO_TCP ? offsetof(struct tcphdr, ack_seq)
								: offsetof(struct sctp_header, tag));
}

/* Stamps both directions, so that neither expires while the other is in use, and puts a peer again that the LRU has
 * evicted. */
static __always_inline void track_refresh(struct slb_draft *draft, struct slb_flow *flow, struct slb_flow *peer,
					  enum slb_tier tier, __u32 now, const enum slb_family family)
{
	flow->seen = now;
	if (peer) {
		peer->seen = now;
		return;
	}
	flow_peer(&draft->peer, flow, &draft->tuple);
	if (tier == SLB_TIER_ESTABLISHED)
		flow_put(SLB_TIER_ESTABLISHED, &draft->key, &draft->peer, BPF_NOEXIST, family);
	else
		flow_put(SLB_TIER_HALF, &draft->key, &draft->peer, BPF_NOEXIST, family);
}

/* Whether a receiver accepts this FIN, RST, SHUTDOWN or ABORT (RFC 5961, 3.2; RFC 9260, 8.5.1): any other is stray or
 * forged, and ends nothing. An ABORT may carry the tag of the packet that it answers. A FIN may be retransmitted. */
static __always_inline bool track_credible(const struct segment *segment, __u8 proto, const struct slb_flow *flow,
					   const struct slb_flow *peer)
{
	__u32 behind = segment->flags & TCP_FIN ? TRACK_WINDOW : 0;
	__u32 expected = peer ? peer->ack : 0;

	if (proto == IPPROTO_TCP)
		return !expected || segment->seq - expected + behind < TRACK_WINDOW + behind;
	return !(flow->ack | expected) || segment->ack == flow->ack || segment->ack == expected;
}

/* A FIN is accepted within a window of what its receiver has acknowledged, and the receiver acknowledges nothing beyond
 * that FIN afterwards. So an acknowledgement far from the last one shows that the last one was forged, to make a forged
 * FIN acceptable: a host that receives such a FIN answers at once with what it has really received (RFC
 * 9293, 3.10.7.4). */
static __always_inline bool track_denies(const struct slb_flow *flow, __u32 ack)
{
	return flow->peer_fin && flow->ack && ack - flow->ack + 2 * TRACK_WINDOW >= 4 * TRACK_WINDOW;
}

static __always_inline void track_reopen(const struct segment *segment, __u8 proto, struct slb_flow *flow,
					 struct slb_flow *peer)
{
	if (proto != IPPROTO_TCP || (segment->flags & (TCP_ACK | TCP_RST)) != TCP_ACK ||
	    !track_denies(flow, segment->ack))
		return;
	counter_inc(SLB_COUNTER_FLOW_REVIVED);
	flow->peer_fin = 0;
	if (peer)
		peer->fin = 0;
}

/* Notes FIN and RST in both entries, each of which expires by itself. A packet after a RST shows that the receiver has
 * ignored the RST: otherwise it would have answered with another one. */
static __always_inline void track_close(const struct segment *segment, __u8 proto, struct slb_flow *flow,
					struct slb_flow *peer)
{
	bool fin = segment->flags & TCP_FIN, rst = segment->flags & TCP_RST;

	if (rst ? flow->rst : !flow->rst && (!fin || flow->fin))
		return;
	if ((rst || (fin && !flow->fin)) && !track_credible(segment, proto, flow, peer)) {
		counter_inc(SLB_COUNTER_STRAY_END);
		return;
	}
	if (flow->rst && !rst)
		counter_inc(SLB_COUNTER_FLOW_REVIVED);
	flow->rst = rst;
	if (peer)
		peer->rst = rst;
	if (!fin)
		return;
	flow->fin = 1;
	if (peer)
		peer->peer_fin = 1;
}

/* Notes the first reply, and by which number the client will confirm it. A reply alone does not make the flow
 * established: if the client's source is forged, it goes to another host, or to none. */
static __always_inline void track_answer(const struct segment *segment, __u8 proto, struct slb_flow *flow,
					 struct slb_flow *request)
{
	bool opens = segment->flags & TCP_SYN;

	if (flow->flags & SLB_FLOW_SEEN_REPLY && !opens && (!request || request->ack))
		return; /* a request's entry that was put again after an eviction lacks the number */
	if (proto != IPPROTO_UDP && (segment->flags & (TCP_ACK | TCP_RST)) != TCP_ACK)
		return;
	flow->flags |= SLB_FLOW_SEEN_REPLY;
	if (!request)
		return;
	request->flags |= SLB_FLOW_SEEN_REPLY;
	if (request->flags & SLB_FLOW_ASSURED)
		return;
	if (proto == IPPROTO_TCP)
		request->ack = segment->seq + opens;
	else if (proto == IPPROTO_SCTP && opens)
		request->ack = segment->seq;
}

static __always_inline void track_note(struct slb_draft *draft, const struct segment *segment, __u32 now,
				       const enum slb_family family)
{
	const __u8 proto = draft->tuple.proto;
	struct slb_flow *flow, *peer;
	enum slb_tier tier;

	flow = flow_live(&draft->tuple, &tier, family);
	if (!flow)
		return;
	peer = track_peer(draft, flow, family);
	if (clock_passed(flow->seen, now, 1))
		track_refresh(draft, flow, peer, tier, now, family);
	if (proto != IPPROTO_UDP) {
		track_reopen(segment, proto, flow, peer);
		track_close(segment, proto, flow, peer);
	}
	if (flow->flags & SLB_FLOW_REPLY)
		track_answer(segment, proto, flow, peer);
}

/* Updates both entries of the flow with the tuple in slb_draft by a segment of it. */
__noinline int slb_note(__u32 now, __u32 flags, __u32 seq, __u32 ack, __u32 family)
{
	const struct segment segment = {.flags = flags, .seq = seq, .ack = ack};
	struct slb_draft *draft = draft_get();

	if (!draft)
		return 0;
	if (family == SLB_IP4) {
		track_note(draft, &segment, now, SLB_IP4);
		return 0;
	}
	barrier(); /* as in slb_forget() */
	track_note(draft, &segment, now, SLB_IP6);
	return 0;
}

/* Stores the acknowledgement number, if it has changed: a direction that only sends data acknowledges nothing new. A
 * later fragment has no flags. An unassured request's entry holds the number that confirms the reply instead. The
 * verification tag of SCTP does not change. */
static __always_inline void track_learn(const struct pkt *pkt, struct slb_flow *flow)
{
	__u32 ack;

	if (!(flow->flags & (SLB_FLOW_ASSURED | SLB_FLOW_REPLY)) || (pkt->tcp_flags & (TCP_ACK | TCP_RST)) != TCP_ACK)
		return;
	ack = track_ack(pkt);
	if (flow->ack != ack && (pkt->tuple->proto == IPPROTO_TCP || !flow->ack))
		flow->ack = ack;
}

/* Updates the tables by a packet of a known flow. Most packets change nothing: the time of the last packet is written
 * at most once a second, for a write per packet would bounce the cache line between CPUs. */
static __always_inline void track(const struct pkt *pkt, struct slb_flow *flow, bool stale, __u32 now,
				  const enum slb_family family)
{
	bool first = (flow->flags & (SLB_FLOW_REPLY | SLB_FLOW_SEEN_REPLY)) == SLB_FLOW_REPLY;
	/* A SYN from the client changes nothing, so a flood of them does not write. */
	__u8 telling = flow->flags & SLB_FLOW_REPLY ? TCP_FIN | TCP_RST | TCP_SYN : TCP_FIN | TCP_RST;

	if (stale || first ||
	    (pkt->conn_oriented && (flow->rst || pkt->tcp_flags & telling || track_denies(flow, track_ack(pkt))))) {
		if (!draft_set_tuple(pkt->tuple))
			return;
		slb_note(now, pkt->tcp_flags, pkt->conn_oriented ? track_seq(pkt) : 0,
			 pkt->conn_oriented ? track_ack(pkt) : 0, family);
	}
	if (pkt->conn_oriented)
		track_learn(pkt, flow);
}
