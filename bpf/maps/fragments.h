/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ports of datagrams whose first fragment has been seen. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/fragment.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct slb_fragment_key);
	__type(value, struct slb_fragment);
} slb_fragments SEC(".maps");

static __always_inline struct slb_fragment *fragment_get(const struct slb_fragment_key *key)
{
	return bpf_map_lookup_elem(&slb_fragments, key);
}

static __always_inline void fragment_put(const struct slb_fragment_key *key, const struct slb_fragment *fragment)
{
	bpf_map_update_elem(&slb_fragments, key, fragment, BPF_ANY);
}
