// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Stands at both tc hooks for the moment in which an agent moves rows to other maps: what belongs to a service is dropped,
 * for its sender to repeat, and all else passes. Its flow tables are the old ones, of which it knows the keys alone. */
#include <linux/pkt_cls.h>
#include "maps/flows.h"
#include "stage/lookup.h"
#include "stage/parse.h"

static __always_inline bool gate_known(const struct slb_flow_key6 *tuple, const enum slb_family family)
{
	return flow_get(SLB_TIER_ESTABLISHED, tuple, family) || flow_get(SLB_TIER_HALF, tuple, family);
}

static __always_inline bool gate_opens(const struct slb_flow_key6 *tuple, const enum slb_family family)
{
	__u8 address = lookup_address(tuple->daddr, family);

	if (address & SLB_ADDR_CLUSTER && !(address & SLB_ADDR_NODE))
		return true;
	if (address & SLB_ADDR_SERVICE && lookup_port(tuple->daddr, tuple->dport, tuple->proto, false, family))
		return true;
	return address & SLB_ADDR_NODE_PORT && lookup_port(tuple->daddr, tuple->dport, tuple->proto, true, family);
}

static __always_inline bool gate_holds(const struct pkt *pkt, const enum slb_family family)
{
	return gate_known(pkt->tuple, family) || gate_opens(pkt->tuple, family);
}

SEC("tc")
int slb_gate(struct __sk_buff *skb)
{
	struct slb_flow_key6 tuple = {};
	struct pkt pkt = {.ctx = skb, .tuple = &tuple};
	enum slb_verdict verdict;

	pkt_load(&pkt, SLB_HOOK_TC_IN);
	verdict = parse(&pkt, SLB_HOOK_TC_IN);
	if (verdict == SLB_DROP_MALFORMED && !bpf_skb_pull_data(skb, 0)) {
		pkt_load(&pkt, SLB_HOOK_TC_IN);
		verdict = parse(&pkt, SLB_HOOK_TC_IN);
	}
	if (verdict != SLB_CONTINUE)
		return TC_ACT_UNSPEC;
	if (pkt.family == SLB_IP4)
		return gate_holds(&pkt, SLB_IP4) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	return gate_holds(&pkt, SLB_IP6) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* The kernel knows few names; of the two licences it is this one that lets a program call every helper. */
char _license[] SEC("license") = "GPL";
