/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The data path, top to bottom. Hook and family are constants, so inlining specialises one source for each of them. */
#pragma once
#include "../lib/addr.h"
#include "../lib/clock.h"
#include "clash.h"
#include "forward.h"
#include "fragment.h"
#include "fragqueue.h"
#include "icmp.h"
#include "icmp_error.h"
#include "lookup.h"
#include "open.h"
#include "policy.h"
#include "reject.h"
#include "rewrite.h"
#include "select.h"
#include "snat.h"
#include "rpfilter.h"
#include "oversize.h"
#include "promote.h"
#include "track.h"

static __always_inline __must_check enum slb_verdict pipeline_send(struct pkt *pkt, const struct slb_flow *flow,
								   enum slb_verdict verdict, const enum slb_hook hook,
								   const enum slb_family family)
{
	struct route route = {};
	enum slb_verdict found = forward_find(pkt, flow, &route, true, hook, family);
	bool oversize = oversize_needs_stack(pkt, flow, found, hook, family);

	flow_account(pkt, flow); /* also if it is dropped below */
	pkt->mtu = route.mtu;
	if (found != SLB_CONTINUE && !oversize)
		return found;
	if (oversize && pkt_first_fragment(pkt))
		fragment_by_stack(pkt);
	if (oversize && hook_is_ingress(hook))
		return oversize_begin(pkt, flow) ? verdict : SLB_DROP_INTERNAL;
	found = rewrite(pkt, flow, hook, family);
	if (found != SLB_CONTINUE)
		return found;
	if (oversize)
		return forward_ingress(pkt, SLB_LOOPBACK, hook) ? verdict : SLB_DROP_INTERNAL;
	found = forward(pkt, flow, &route, hook, family);
	if (found != SLB_CONTINUE)
		return found;
	return flow->forward == SLB_FORWARD_HAIRPIN ? SLB_HAIRPIN : verdict;
}

/* A packet of a known connection, in either direction. */
static __always_inline __must_check enum slb_verdict
pipeline_known(struct pkt *pkt, struct found *found, __u32 now, const enum slb_hook hook, const enum slb_family family)
{
	struct slb_flow *flow = found->flow;
	bool reply = flow->flags & SLB_FLOW_REPLY, stale, promotes;
	enum slb_verdict verdict;

	if (!(flow->flags & flow_hook_bit(hook)))
		return SLB_OTHER_HOOK;
	stale = clock_passed(flow->seen, now, 1);
	/* When the client confirms the reply, and again once a second while the established table is full. */
	promotes = !reply && found->tier == SLB_TIER_HALF && flow->flags & SLB_FLOW_SEEN_REPLY &&
		   (flow->flags & SLB_FLOW_ASSURED ? stale : promote_due(pkt, flow));
	if (!hook_has_skb(hook) &&
	    (reply || promotes || flow->forward != SLB_FORWARD_STACK || parse_csum_partial(pkt, family)))
		return SLB_LEFT_TO_TC;
	track(pkt, flow, stale, now, family);
	verdict = pipeline_send(pkt, flow, reply ? SLB_REPLY : SLB_REQUEST, hook, family);
	if (!promotes || promote(pkt, now, family))
		return verdict;
	return verdict == SLB_REQUEST ? SLB_REQUEST_HALF_OPEN : verdict;
}

/* Puts the flow in the draft, and sends its first packet. */
static __always_inline __must_check enum slb_verdict pipeline_open_and_send(struct pkt *pkt, struct slb_draft *draft,
									    __u32 now, const enum slb_hook hook,
									    const enum slb_family family)
{
	struct slb_flow *request = &draft->flow;
	enum slb_verdict verdict;

	if (pkt->conn_oriented && pkt->tcp_flags & TCP_ACK)
		request->ack = track_ack(pkt);
	verdict = open_flow(pkt, draft, now, hook, family);
	if (verdict != SLB_CONTINUE && verdict != SLB_REQUEST)
		return verdict;
	pkt->opened = verdict == SLB_CONTINUE && (!pkt->conn_oriented || tcp_opens(pkt));
	if (verdict == SLB_CONTINUE)
		verdict = pkt->opened ? SLB_REQUEST_NEW : SLB_REQUEST_RESUMED;
	return pipeline_send(pkt, request, verdict, hook, family);
}

/* Opens a connection to this backend. */
static __always_inline __must_check enum slb_verdict pipeline_open(struct pkt *pkt, const struct slb_backend *backend,
								   const struct policy *policy, __u32 now,
								   const enum slb_hook hook,
								   const enum slb_family family)
{
	struct slb_draft *draft = draft_get();
	struct slb_flow *request = &draft->flow;
	enum slb_verdict verdict;

	if (!draft)
		return SLB_DROP_INTERNAL;
	open_request(request, pkt, backend, now, hook, family);
	if (!hook_has_skb(hook)) {
		if (addr_equal(request->daddr, pkt->tuple->saddr, family) || !snat_port_free(pkt, request, now, family))
			return SLB_LEFT_TO_TC;
	} else {
		verdict = open_choose_forward(request, pkt, policy, hook, family);
		if (hook_is_ingress(hook) && request->forward != SLB_FORWARD_STACK && !rpfilter_passes(pkt, family))
			return SLB_DROP_MARTIAN;
		if (verdict == SLB_CONTINUE)
			verdict = snat_port(pkt, draft, now, hook, family);
		if (verdict != SLB_CONTINUE)
			return verdict;
	}
	return pipeline_open_and_send(pkt, draft, now, hook, family);
}

/* A packet to a service without a flow. */
static __always_inline __must_check enum slb_verdict pipeline_target(struct pkt *pkt, const struct target *target,
								     __u32 now, const enum slb_hook hook,
								     const enum slb_family family)
{
	struct policy policy = policy_of(target, client_of(pkt, hook, family));
	const struct slb_backend *backend = NULL;
	enum slb_verdict verdict;

	pkt->service = target->service->id;
	if (!policy_admits(pkt, target, family))
		return SLB_DROP_SOURCE;
	if (!hook_has_skb(hook) && (policy.masquerade || !client_frame_for(pkt, device_get(client_ifindex(pkt, hook)))))
		return SLB_LEFT_TO_TC;
	verdict = select_backend(pkt, target->service, policy.list, now, &backend, family);
	if (verdict != SLB_CONTINUE)
		return verdict;
	return pipeline_open(pkt, backend, &policy, now, hook, family);
}

/* A connection to no service whose replies would be taken for those of a flow (`direct`), or for requests (`clashes`).
 * The former gets another source port, the latter a flow that changes nothing. NOT_OURS when neither is needed. */
static __always_inline __must_check enum slb_verdict pipeline_direct(struct pkt *pkt, bool direct, bool clashes,
								     __u32 now, const enum slb_hook hook,
								     const enum slb_family family)
{
	struct slb_draft *draft = draft_get();
	bool free;

	if (!draft)
		return SLB_DROP_INTERNAL;
	pkt_load(pkt, hook); /* stages before may have invalidated packet pointers */
	open_untranslated(&draft->flow, pkt, now, hook);
	free = snat_port_free(pkt, &draft->flow, now, family);
	if (free ? !clashes : !direct)
		return SLB_NOT_OURS;
	if (hook_is_egress(hook))
		open_peer_at_ingress(&draft->flow);
	if (free)
		draft->flow.flags |= SLB_FLOW_PEER_AT_EGRESS; /* replies leave by lo */
	else if (!snat_find_port(pkt, draft, now, hook, family))
		return SLB_DROP_NO_PORT;
	return pipeline_open_and_send(pkt, draft, now, hook, family);
}

/* A port without a service at a service address that no device has. If the route leads back out of the device it came
 * in by, the packet would loop between this node and that router until its TTL ends: it is rejected or dropped. */
static __always_inline __must_check enum slb_verdict pipeline_unserved(const struct pkt *pkt,
								       const enum slb_family family)
{
	struct route route;

	if (pkt_later_fragment(pkt) || client_of(pkt, SLB_HOOK_TC_IN, family) == CLIENT_POD ||
	    lookup_address(pkt->tuple->daddr, family) & SLB_ADDR_NODE)
		return SLB_NO_SUCH_PORT;
	if (route_find(pkt, &route, pkt->tuple->saddr, pkt->tuple->daddr, 1, false, family) != SLB_CONTINUE ||
	    route.ifindex != client_ifindex(pkt, SLB_HOOK_TC_IN))
		return SLB_NO_SUCH_PORT;
	return slb_config.unserved_ports == 1 ? SLB_REFUSED_PORT : SLB_DROP_UNSERVED;
}

/* A packet without a flow that may open a connection: to a service, or not. */
static __always_inline __must_check enum slb_verdict pipeline_new(struct pkt *pkt, __u32 now, const enum slb_hook hook,
								  const enum slb_family family)
{
	struct target target = {};
	enum slb_verdict verdict = lookup(pkt, &target, hook, family);

	if (hook_is_ingress(hook) && slb_config.unserved_ports && verdict == SLB_NO_SUCH_PORT)
		verdict = pipeline_unserved(pkt, family);
	if (verdict != SLB_CONTINUE && verdict != SLB_REFUSED_PORT)
		return verdict;
	if (target.on_node) {
		enum slb_verdict clashing = clash(pkt, hook, family);

		if (clashing != SLB_CONTINUE)
			return clashing;
	}
	if (pkt_later_fragment(pkt))
		return SLB_DROP_FRAGMENT;
	if (!hook_has_skb(hook) && parse_csum_partial(pkt, family))
		return SLB_LEFT_TO_TC;
	if (pkt->conn_oriented && !tcp_may_be_request(pkt))
		return SLB_DROP_NO_FLOW;
	return verdict == SLB_CONTINUE ? pipeline_target(pkt, &target, now, hook, family) : verdict;
}

/* At egress only packets of this host itself open connections: forwarded ones have passed an ingress hook. */
static __always_inline bool pipeline_may_open(const struct pkt *pkt, const enum slb_hook hook)
{
	const struct __sk_buff *skb = pkt->ctx;

	return !hook_is_egress(hook) || !skb->ingress_ifindex;
}

/* A packet without a flow. A forwarded one opens no connection here, but it may be one that the stack has fragmented
 * for us (oversize.h), or that netfilter has masqueraded. */
static __always_inline __must_check enum slb_verdict
pipeline_unknown(struct pkt *pkt, __u32 now, const enum slb_hook hook, const enum slb_family family)
{
	bool opens = pipeline_may_open(pkt, hook), direct, clashes;
	enum slb_verdict verdict = opens ? pipeline_new(pkt, now, hook, family) : oversize_finish(pkt, now, family);

	if (verdict != SLB_NOT_OURS && verdict != SLB_NO_SUCH_PORT)
		return verdict;
	direct = opens && verdict == SLB_NOT_OURS && clash_direct(pkt, hook, family);
	clashes = hook_is_egress(hook) && clash_opens(pkt, family);
	return direct || clashes ? pipeline_direct(pkt, direct, clashes, now, hook, family) : verdict;
}

/* A later fragment whose first one was not seen: queued at ingress, else dropped if it is to a service address. */
static __always_inline __must_check enum slb_verdict
pipeline_early_fragment(struct pkt *pkt, __u32 now, const enum slb_hook hook, const enum slb_family family)
{
	__u8 address = lookup_address(pkt->tuple->daddr, family);

	if (hook_is_ingress(hook))
		return fragqueue_put(pkt, address, now);
	return address & SLB_ADDR_SERVICE ? SLB_DROP_FRAGMENT : SLB_NOT_OURS;
}

/* A packet that parse() could not read: dropped if it is to a service address, because it must not go on untranslated;
 * else passed (UNREADABLE). The destination is 0 when the parser did not get that far. */
static __always_inline __must_check enum slb_verdict pipeline_unreadable(const struct pkt *pkt)
{
	__u8 address = pkt->family == SLB_IP4 ? lookup_address(pkt->tuple->daddr, SLB_IP4)
					      : lookup_address(pkt->tuple->daddr, SLB_IP6);

	return address & SLB_ADDR_SERVICE ? SLB_DROP_MALFORMED : SLB_UNREADABLE;
}

/* The verdict on a packet. For verdicts of class REFUSE pipeline_refuse() builds the answer. */
static __always_inline __must_check enum slb_verdict pipeline_decide(struct pkt *pkt, const enum slb_hook hook,
								     const enum slb_family family)
{
	__u32 now = clock_now();
	enum slb_verdict verdict;
	struct found found;

	if (pkt->tuple->proto == IPPROTO_ICMP || pkt->tuple->proto == IPPROTO_ICMPV6)
		return hook_has_skb(hook) ? icmp(pkt, hook, family) : SLB_LEFT_TO_TC;
	if (pkt->fragment && !hook_has_skb(hook))
		return SLB_LEFT_TO_TC;
	if (pkt_later_fragment(pkt) && !fragment_find(pkt, now))
		return pipeline_early_fragment(pkt, now, hook, family);
	if (pkt_first_fragment(pkt))
		fragment_store(pkt, now);
	found = track_find(pkt, now, hook, family);
	if (hook_is_ingress(hook) && pkt_first_fragment(pkt) && fragqueue_has(pkt)) {
		verdict = fragqueue_follow(pkt, found.flow || lookup_address(pkt->tuple->daddr, family), now);
		if (verdict != SLB_CONTINUE)
			return verdict;
	}
	if (found.flow)
		return pipeline_known(pkt, &found, now, hook, family);
	return pipeline_unknown(pkt, now, hook, family);
}

static __always_inline __must_check enum slb_verdict
pipeline_refuse(struct pkt *pkt, enum slb_verdict verdict, const enum slb_hook hook, const enum slb_family family)
{
	struct icmp_error error = icmp_error_port(family);

	if (!hook_has_skb(hook))
		return SLB_LEFT_TO_TC;
	pkt_load(pkt, hook); /* any stage may have returned the verdict, also one that invalidated packet pointers */
	if (verdict == SLB_REFUSED_TOO_BIG)
		error = icmp_error_too_big(pkt->mtu, family);
	else if (verdict == SLB_REFUSED_TTL && !icmp_error_from_node(pkt, family))
		return SLB_DROP_TTL;
	else if (verdict == SLB_REFUSED_TTL)
		error = icmp_error_ttl(family);
	else if (hook_is_ingress(hook) && !rpfilter_passes(pkt, family))
		return SLB_DROP_MARTIAN;
	else if (pkt->tuple->proto == IPPROTO_TCP)
		return reject_rst(pkt, verdict == SLB_REFUSED_PORT ? verdict : SLB_REFUSED_RST, hook, family);
	return reject_icmp(pkt, &error, verdict, hook, family);
}

static __always_inline __must_check enum slb_verdict pipeline(struct pkt *pkt, const enum slb_hook hook,
							      const enum slb_family family)
{
	enum slb_verdict verdict = pipeline_decide(pkt, hook, family);

	if (verdict == SLB_REFUSED_UNREACHABLE || verdict == SLB_REFUSED_PORT || verdict == SLB_REFUSED_TOO_BIG ||
	    verdict == SLB_REFUSED_TTL)
		return pipeline_refuse(pkt, verdict, hook, family);
	return verdict;
}
