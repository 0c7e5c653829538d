/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters of enum slb_event, per CPU. Programs of packets and of system calls count in the same rows. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/event.h"
#include "counter.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLB_EVENT_MAX);
	__type(key, __u32);
	__type(value, __u64);
} slb_events SEC(".maps");

static __always_inline void event_count(enum slb_event event)
{
	__u32 row = event;
	__u64 *counter = bpf_map_lookup_elem(&slb_events, &row);

	if (counter)
		counter_add(counter, 1);
}
