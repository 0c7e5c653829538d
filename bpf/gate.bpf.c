// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* Stands at both tc hooks while an agent moves rows to maps of another size or layout (src/hooks/takeover.ts): packets
 * of services are dropped, for their senders to repeat, and all others pass. It looks up the old flow tables, of which
 * it needs the keys alone. */
#include <linux/pkt_cls.h>
#include "maps/flows.h"
#include "maps/stats.h"
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

/* What the agent passes in the place of a packet. */
struct gate_sum {
	__u8 header[16]; /* BPF_PROG_TEST_RUN wants an Ethernet header */
	__u32 row;
	__u32 of_service; /* 1: row of slb_svc_stats, 0: of slb_be_stats */
	__u64 words[sizeof(struct slb_stats) / sizeof(__u64)];
};

/* The agent runs it by BPF_PROG_TEST_RUN to add what was counted in the old rows after they were copied. Packets count
 * in the same row meanwhile; user space cannot add to it without losing theirs, an atomic addition on this CPU can. */
SEC("tc")
int slb_gate_add(struct __sk_buff *skb)
{
	const struct gate_sum *sum = (const void *)(long)skb->data;
	__u64 *counters;

	if ((const void *)(sum + 1) > (const void *)(long)skb->data_end)
		return -1;
	counters = sum->of_service ? (void *)service_stats(sum->row) : (void *)backend_stats(sum->row);
	if (!counters)
		return -1;
#pragma unroll
	for (__u32 i = 0; i < sizeof(sum->words) / sizeof(__u64); i++)
		atomic_add(&counters[i], sum->words[i]);
	return 0;
}

/* Of the two licences, the one that GPL-only helpers require. */
char _license[] SEC("license") = "GPL";
