/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The two tiers of flow tables, one pair a family. A flood of first packets can evict half-open flows only. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"
#include "../abi/limits.h"

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

/* How often flows have been moved from one tier to the other, which tells a look-up on another CPU that it may have
 * missed one: its first look was too early, its second too late. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} slb_moves SEC(".maps");

enum slb_tier { SLB_TIER_ESTABLISHED, SLB_TIER_HALF };

/* Of the row, which is always there. */
static __always_inline volatile __u32 *flow_moves(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_moves, &row);
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

/* Tuples are handed around as the longer key, with IPv4 addresses in the first word. */
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

/* bpf_map_update_elem's flags and result. */
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
