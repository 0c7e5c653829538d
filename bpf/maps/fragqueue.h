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
	__type(key, struct slb_queued_key);
	__type(value, struct slb_queued);
} slb_queued SEC(".maps");

/* Used within one run of a program and then void: a row in the making, which is too large for the stack and must be
 * whole before others can find it, and the key that it will have. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_queued);
} slb_queue_row SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_queued_key);
} slb_queue_key SEC(".maps");

static __always_inline struct slb_queued *queue_row_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_queue_row, &row);
}

static __always_inline struct slb_queued_key *queue_key_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_queue_key, &row);
}

static __always_inline const struct slb_queued *queued_get(const struct slb_queued_key *key)
{
	return bpf_map_lookup_elem(&slb_queued, key);
}

/* Never over another row; 0 when put. */
static __always_inline long queued_put(const struct slb_queued_key *key, const struct slb_queued *parked)
{
	return bpf_map_update_elem(&slb_queued, key, parked, BPF_NOEXIST);
}

/* 0 for one caller only, however many try. */
static __always_inline long queued_delete(const struct slb_queued_key *key)
{
	return bpf_map_delete_elem(&slb_queued, key);
}
