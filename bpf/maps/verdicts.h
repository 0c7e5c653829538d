/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets by hook and verdict, per CPU. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/verdict.h"

#define VERDICT_ROWS (SLB_HOOK_MAX * SLB_VERDICT_MAX)

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICT_ROWS);
	__type(key, __u32);
	__type(value, __u64);
} slb_verdicts SEC(".maps");

static __always_inline __u64 *verdict_counter(enum slb_hook hook, enum slb_verdict verdict)
{
	__u32 row = hook * SLB_VERDICT_MAX + verdict;

	return bpf_map_lookup_elem(&slb_verdicts, &row);
}
