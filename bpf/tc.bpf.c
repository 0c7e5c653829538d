// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The tc hooks: ingress sees requests, egress sees replies and this host's own requests. */
#include "maps/sockets.h" /* created with this object, which every node loads */
#include "stage/bridge.h"
#include "stage/fastpath.h"
#include "lib/count.h"
#include "stage/parse.h"
#include "stage/pipeline.h"

#define HEADERS_PULL 576 /* bytes to make linear: PKT_L4_MAX and a transport header */

/* Makes the headers linear; 0 when done. A global function, so that the verifier tracks no bounds of the length. */
__noinline int slb_pull(struct __sk_buff *skb)
{
	__u32 len = skb->len;

	return bpf_skb_pull_data(skb, len < HEADERS_PULL ? len : HEADERS_PULL);
}

/* Headers can lie in page fragments, which direct packet access does not reach. */
static __always_inline bool pull(const struct pkt *pkt)
{
	return pkt->data + pkt->frame_len > pkt->end && !slb_pull(pkt->ctx);
}

/* CONTINUE when the packet is one for the pipeline. */
static __always_inline __must_check enum slb_verdict read(struct pkt *pkt, const enum slb_hook hook)
{
	enum slb_verdict verdict;

	if (hook_is_ingress(hook) && !bridge_accepts(pkt))
		return SLB_OTHER_HOST;
	verdict = parse(pkt, hook);
	if (verdict == SLB_DROP_MALFORMED && pull(pkt)) {
		*pkt->tuple = (struct slb_flow_key6){};
		pkt_load(pkt, hook);
		verdict = parse(pkt, hook);
	}
	if (hook_is_ingress(hook) && verdict != SLB_NOT_IP && bridge_forwards(pkt))
		return SLB_OTHER_HOST;
	return verdict == SLB_DROP_MALFORMED ? pipeline_unreadable(pkt) : verdict;
}

static __always_inline __must_check enum slb_verdict run(struct pkt *pkt, const enum slb_hook hook)
{
	enum slb_verdict verdict;

	pkt_load(pkt, hook);
	verdict = fast(pkt, hook);
	if (verdict == SLB_CONTINUE && !pkt->plain)
		verdict = read(pkt, hook);
	if (verdict != SLB_CONTINUE)
		return verdict;
	return pkt->family == SLB_IP4 ? pipeline(pkt, hook, SLB_IP4) : pipeline(pkt, hook, SLB_IP6);
}

static __always_inline int finish(const struct pkt *pkt, const enum slb_hook hook, enum slb_verdict verdict)
{
	count(pkt, hook, verdict);
	switch (verdict_class(verdict)) {
	case CLASS_PASS:
		return TC_NEXT;
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

/* Of the two licences, the one that GPL-only helpers require. */
char _license[] SEC("license") = "GPL";
