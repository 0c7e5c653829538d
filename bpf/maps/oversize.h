/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets that the stack is fragmenting: a row is used for as long as that takes. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"
#include "../abi/oversize.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct slb_flow_key4);
	__type(value, struct slb_oversize);
} slb_oversize SEC(".maps");

static __always_inline const struct slb_oversize *oversize_get(const struct slb_flow_key4 *key)
{
	return bpf_map_lookup_elem(&slb_oversize, key);
}

/* 0 when put. */
static __always_inline long oversize_put(const struct slb_flow_key4 *key, const struct slb_oversize *row)
{
	return bpf_map_update_elem(&slb_oversize, key, row, BPF_ANY);
}
