/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is mixed into the hash that backends are chosen by: the same on every node of a cluster, and in no other
 * cluster, so that no client can compute which backend it will get. A row and no constant: the agent knows it when the
 * source has handed over its Services, and until then an earlier agent's holds. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} slb_seed SEC(".maps");

static __always_inline __u32 seed_get(void)
{
	__u32 row = 0;
	const __u32 *seed = bpf_map_lookup_elem(&slb_seed, &row);

	return seed ? *seed : 0;
}
