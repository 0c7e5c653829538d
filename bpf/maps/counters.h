/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters of enum slb_counter, per CPU. Packet programs and cgroup programs count in the same rows. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/counter.h"
#include "atomic.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLB_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} slb_counters SEC(".maps");

static __always_inline void counter_inc(enum slb_counter event)
{
	__u32 row = event;
	__u64 *counter = bpf_map_lookup_elem(&slb_counters, &row);

	if (counter)
		atomic_add(counter, 1);
}
