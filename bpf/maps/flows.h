/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Two tiers of flow tables for each family. The half-open tier is an LRU, so a flood of first packets evicts half-open
 * flows only; nothing is evicted from the established tier. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"
#include "../abi/limits.h"
#include "onerow.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_flow);
} slb_half4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct slb_flow_key6);
	__type(value, struct slb_flow);
} slb_half6 SEC(".maps");

/* Counts moves from one tier to the other, like a seqcount: a look-up on another CPU that finds a flow in neither tier
 * repeats when the count has changed meanwhile (flow_live()). */
ONE_ROW(ARRAY, slb_moves, __u32, moves_get)

enum slb_tier { SLB_TIER_ESTABLISHED, SLB_TIER_HALF };

static __always_inline volatile __u32 *flow_moves(void)
{
	return moves_get();
}

static __always_inline void flow_moved(void)
{
	volatile __u32 *moves = flow_moves();

	if (moves)
		__sync_fetch_and_add(moves, 1);
}

static __always_inline void *flow_map(const enum slb_tier tier, const enum slb_family family)
{
	if (tier == SLB_TIER_ESTABLISHED)
		return family == SLB_IP4 ? (void *)&slb_flows4 : (void *)&slb_flows6;
	return family == SLB_IP4 ? (void *)&slb_half4 : (void *)&slb_half6;
}

/* Stages pass tuples as the longer key, with an IPv4 address in the first word. */
static __always_inline struct slb_flow_key4 flow_key4(const struct slb_flow_key6 *tuple)
{
	return (struct slb_flow_key4){
		.saddr = tuple->saddr[0],
		.daddr = tuple->daddr[0],
		.sport = tuple->sport,
		.dport = tuple->dport,
		.proto = tuple->proto,
	};
}

static __always_inline struct slb_flow *flow_get(const enum slb_tier tier, const struct slb_flow_key6 *tuple,
						 const enum slb_family family)
{
	struct slb_flow_key4 key4 = flow_key4(tuple);

	return bpf_map_lookup_elem(flow_map(tier, family), family == SLB_IP4 ? (void *)&key4 : (void *)tuple);
}

/* Flags and result are those of bpf_map_update_elem(). */
static __always_inline long flow_put(const enum slb_tier tier, const struct slb_flow_key6 *tuple,
				     const struct slb_flow *flow, __u64 flags, const enum slb_family family)
{
	struct slb_flow_key4 key4 = flow_key4(tuple);

	return bpf_map_update_elem(flow_map(tier, family), family == SLB_IP4 ? (void *)&key4 : (void *)tuple, flow,
				   flags);
}

static __always_inline void flow_delete(const enum slb_tier tier, const struct slb_flow_key6 *tuple,
					const enum slb_family family)
{
	struct slb_flow_key4 key4 = flow_key4(tuple);

	bpf_map_delete_elem(flow_map(tier, family), family == SLB_IP4 ? (void *)&key4 : (void *)tuple);
}
