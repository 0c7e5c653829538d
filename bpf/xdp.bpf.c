// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The XDP hook: translates requests before the kernel allocates an skb, and passes them up the stack. What needs an skb
 * is left to the tc hook behind it (LEFT_TO_TC), which shares every map. */
#include "lib/count.h"
#include "stage/fastpath.h"
#include "stage/parse.h"
#include "stage/pipeline.h"

static __always_inline __must_check enum slb_verdict run(struct pkt *pkt)
{
	enum slb_verdict verdict;

	pkt_load(pkt, SLB_HOOK_XDP);
	verdict = fast(pkt, SLB_HOOK_XDP);
	if (verdict != SLB_CONTINUE)
		return verdict;
	verdict = pkt->plain ? SLB_CONTINUE : parse(pkt, SLB_HOOK_XDP);
	if (verdict == SLB_DROP_MALFORMED)
		return pipeline_unreadable(pkt);
	if (verdict != SLB_CONTINUE)
		return verdict;
	return pkt->family == SLB_IP4 ? pipeline(pkt, SLB_HOOK_XDP, SLB_IP4) : pipeline(pkt, SLB_HOOK_XDP, SLB_IP6);
}

SEC("xdp")
int slb_xdp_in(struct xdp_md *xdp)
{
	struct slb_flow_key6 tuple = {};
	struct pkt pkt = {.ctx = xdp, .tuple = &tuple};
	enum slb_verdict verdict = run(&pkt);

	count(&pkt, SLB_HOOK_XDP, verdict);
	return verdict_class(verdict) == CLASS_DROP ? XDP_DROP : XDP_PASS;
}

/* Of the two licences, the one that GPL-only helpers require. */
char _license[] SEC("license") = "GPL";
