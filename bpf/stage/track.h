/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Known connections: find the flow of a packet, keep it alive, move it to the table it has earned. */
#pragma once
#include "../maps/backends.h"
#include "../maps/draft.h"
#include "../maps/counters.h"
#include "../maps/services.h"
#include "../lib/flow.h"
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
	return pkt->conn_oriented && (pkt->tcp_flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK) &&
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
	if (pkt->conn_oriented)
		return tcp_opens(pkt) && (flow_closing(flow) || track_orphaned(flow));
	return track_orphaned(flow) && !service_is_empty(flow->service);
}

/* The entry of the other direction than the packet in slb_draft; NULL when it is gone, or has meanwhile become another
 * connection's. */
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

/* Ends the flow with the tuple in slb_draft in both directions. A function of its own, which the verifier walks once
 * for all callers. */
__noinline int slb_forget(__u32 family)
{
	struct slb_draft *draft = draft_get();

	if (!draft)
		return 0;
	if (family == SLB_IP4) {
		track_end(draft, SLB_IP4);
		return 0;
	}
	barrier(); /* else the compiler reads for both families at once, and keeps all of it on the stack */
	track_end(draft, SLB_IP6);
	return 0;
}

static __always_inline void track_forget(const struct pkt *pkt, const enum slb_family family)
{
	if (draft_set_tuple(pkt->tuple))
		slb_forget(family);
}

/* Expiry is decided here and not by a timer, so it holds with no agent running. An entry that has expired is ended by
 * the packet that meets it, which may be a request from where replies came from before; one that is outdated by the
 * request that will replace it, or by a reply that shows it to be in the way of another connection. */
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

/* Sequence numbers this far past the last acknowledged one can be right: what is on its way, and more. One guessed
 * blindly is so once in 4 096 times. */
#define TRACK_WINDOW (1u << 20)

/* What a segment says of its connection, in host order. */
struct segment {
	__u32 flags; /* TCP's, or what an SCTP chunk would be in TCP */
	__u32 seq;   /* SCTP: the initiate tag of an INIT or INIT ACK, else 0 */
	__u32 ack;   /* what shows that the sender knows the connection. SCTP: the verification tag */
};

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

/* Both directions are stamped, so that neither expires while the other is in use, and a peer that the LRU evicted
 * comes back. */
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

/* Whether the receiver of a FIN, RST, SHUTDOWN or ABORT can believe it (RFC 5961, 3.2; RFC 9260, 8.5.1): any other is
 * stray, or forged, and ends nothing. An ABORT may return the tag of what it answers. A FIN may come again. */
static __always_inline bool track_credible(const struct segment *segment, __u8 proto, const struct slb_flow *flow,
					   const struct slb_flow *peer)
{
	__u32 behind = segment->flags & TCP_FIN ? TRACK_WINDOW : 0;
	__u32 expected = peer ? peer->ack : 0;

	if (proto == IPPROTO_TCP)
		return !expected || segment->seq - expected + behind < TRACK_WINDOW + behind;
	return !(flow->ack | expected) || segment->ack == flow->ack || segment->ack == expected;
}

/* A FIN is believed within a window of what its receiver has acknowledged, and from then on that acknowledges nothing
 * beyond the FIN. So an acknowledgment far from the last one shows that the last one was forged, to make a forged FIN
 * credible: who is sent such a FIN answers at once with what it has really received. */
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

/* FIN and RST are noted on both entries, each of which decides by itself how long it lives. Whatever comes after a RST
 * shows that its receiver has not believed it: a receiver that has would answer with another. */
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

/* The backend's answer. It does not make the flow an established one: the answer to a forged source is received by
 * another host, or none. What the client has to send to show that it has received it is kept. */
static __always_inline void track_answer(const struct segment *segment, __u8 proto, struct slb_flow *flow,
					 struct slb_flow *request)
{
	bool opens = segment->flags & TCP_SYN;

	if (flow->flags & SLB_FLOW_SEEN_REPLY && !opens && (!request || request->ack))
		return; /* a request's entry that came back after an eviction has to learn it anew */
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

/* Notes at both entries of the flow with the tuple in slb_draft what a segment of it says. A function of its own, which
 * the verifier walks once for all callers. */
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

/* Written only when it has changed: of two directions often one only receives. A later fragment has no flags. Until the
 * client has confirmed, its entry holds what it has to send. The tag of SCTP is the same for as long as the association
 * lives. */
static __always_inline void track_learn(const struct pkt *pkt, struct slb_flow *flow)
{
	__u32 ack;

	if (!(flow->flags & (SLB_FLOW_ASSURED | SLB_FLOW_REPLY)) || (pkt->tcp_flags & (TCP_ACK | TCP_RST)) != TCP_ACK)
		return;
	ack = track_ack(pkt);
	if (flow->ack != ack && (pkt->tuple->proto == IPPROTO_TCP || !flow->ack))
		flow->ack = ack;
}

/* What a packet of a flow changes in the tables: nothing, of most. At most once a second it is stamped: a write per
 * packet would bounce the cache line between CPUs. */
static __always_inline void track(const struct pkt *pkt, struct slb_flow *flow, bool stale, __u32 now,
				  const enum slb_family family)
{
	bool first = (flow->flags & (SLB_FLOW_REPLY | SLB_FLOW_SEEN_REPLY)) == SLB_FLOW_REPLY;
	/* Of the segments that open a connection only the answer says something new: a SYN may come in floods. */
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
