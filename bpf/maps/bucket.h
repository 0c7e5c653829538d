/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One bucket a CPU: a row of zeros is a full one. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/bucket.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_bucket);
} slb_bucket SEC(".maps");

static __always_inline struct slb_bucket *bucket_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_bucket, &row);
}
