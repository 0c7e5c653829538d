/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Fragments that wait for the first of their datagram. Four megabytes, and never more: a flood of them pushes out its
 * like.
 */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/fragment.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct slb_parked_key);
	__type(value, struct slb_parked);
} slb_parked SEC(".maps");

/* Used within one run of a program and then void: a row in the making, which is too large for the stack and must be
 * whole before others can find it, and the key that it will have. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_parked);
} slb_parking SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_parked_key);
} slb_parking_key SEC(".maps");

static __always_inline struct slb_parked *parking_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_parking, &row);
}

static __always_inline struct slb_parked_key *parking_key_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_parking_key, &row);
}

static __always_inline const struct slb_parked *parked_get(const struct slb_parked_key *key)
{
	return bpf_map_lookup_elem(&slb_parked, key);
}

/* Never over another row; 0 when put. */
static __always_inline long parked_put(const struct slb_parked_key *key, const struct slb_parked *parked)
{
	return bpf_map_update_elem(&slb_parked, key, parked, BPF_NOEXIST);
}

/* 0 for one caller only, however many try. */
static __always_inline long parked_delete(const struct slb_parked_key *key)
{
	return bpf_map_delete_elem(&slb_parked, key);
}
