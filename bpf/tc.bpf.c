// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The tc hooks: at ingress requests, at egress replies and this host's own requests. */
#include "maps/sockets.h" /* made with the tables of this object, which every node loads */
#include "stage/count.h"
#include "stage/parse.h"
#include "stage/steer.h"

#define HEADERS_PULL 576 /* bytes made linear when the headers are not: up to PKT_L4_MAX, and a transport header */

/* Headers may lie in page fragments behind the linear part; direct access ends where that does. */
static __always_inline bool pull(struct pkt *pkt)
{
	struct __sk_buff *skb = pkt->ctx;

	if (pkt->data + pkt->wire <= pkt->end ||
	    bpf_skb_pull_data(skb, pkt->wire < HEADERS_PULL ? pkt->wire : HEADERS_PULL))
		return false;
	return true;
}

static __always_inline __must_check enum slb_verdict run(struct pkt *pkt, const enum slb_hook hook)
{
	enum slb_verdict verdict;

	pkt_load(pkt, hook);
	if (hook == SLB_HOOK_TC_IN && !client_frame(pkt))
		return SLB_OTHER_HOST;
	verdict = parse(pkt, hook);
	if (verdict == SLB_DROP_MALFORMED && pull(pkt)) {
		pkt_load(pkt, hook);
		verdict = parse(pkt, hook);
	}
	if (hook == SLB_HOOK_TC_IN && verdict != SLB_NOT_IP && steer_elsewhere(pkt))
		return SLB_OTHER_HOST;
	if (verdict == SLB_DROP_MALFORMED)
		return steer_unreadable(pkt);
	if (verdict != SLB_CONTINUE)
		return verdict;
	return pkt->family == SLB_IP4 ? steer(pkt, hook, SLB_IP4) : steer(pkt, hook, SLB_IP6);
}

static __always_inline int finish(const struct pkt *pkt, const enum slb_hook hook, enum slb_verdict verdict)
{
	count(pkt, hook, verdict);
	switch (verdict_class(verdict)) {
	case CLASS_PASS:
		return FORWARD_PASS;
	case CLASS_DROP:
		return TC_ACT_SHOT;
	default:
		return pkt->action;
	}
}

SEC("tc")
int slb_tc_in(struct __sk_buff *skb)
{
	struct slb_flow_key6 tuple = {};
	struct pkt pkt = {.ctx = skb, .tuple = &tuple};
	enum slb_verdict verdict = run(&pkt, SLB_HOOK_TC_IN);

	return finish(&pkt, SLB_HOOK_TC_IN, verdict);
}

SEC("tc")
int slb_tc_out(struct __sk_buff *skb)
{
	struct slb_flow_key6 tuple = {};
	struct pkt pkt = {.ctx = skb, .tuple = &tuple};
	enum slb_verdict verdict = run(&pkt, SLB_HOOK_TC_OUT);

	return finish(&pkt, SLB_HOOK_TC_OUT, verdict);
}

/* The kernel knows few names; of the two licences it is this one that lets a program call every helper. */
char _license[] SEC("license") = "GPL";
