/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Client address and service port → backend. Entries are overwritten, never deleted: an expired one says that this
 * client is to be hashed by its 5-tuple (select_affine()). */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/affinity.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct slb_affinity_key);
	__type(value, struct slb_affinity);
} slb_affinity SEC(".maps");

static __always_inline struct slb_affinity *affinity_get(const struct slb_affinity_key *key)
{
	return bpf_map_lookup_elem(&slb_affinity, key);
}

static __always_inline void affinity_put(const struct slb_affinity_key *key, const struct slb_affinity *affinity)
{
	bpf_map_update_elem(&slb_affinity, key, affinity, BPF_ANY);
}
