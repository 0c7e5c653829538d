/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which clients a service allows or denies, and which addresses are pods. */
#pragma once
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/range.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct slb_range_key);
	__type(value, struct slb_range);
} slb_ranges SEC(".maps");

static __always_inline bool range_has(const struct slb_range_key *key)
{
	return bpf_map_lookup_elem(&slb_ranges, key);
}
