/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters of services and backends, by slot and CPU. Packet programs add without atomics: on one CPU they do not
 * interrupt each other. Cgroup programs can be interrupted and use atomic_add(). */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/limits.h"
#include "../abi/stats.h"
#include "atomic.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct slb_stats);
} slb_svc_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct slb_stats);
} slb_be_stats SEC(".maps");

static __always_inline struct slb_stats *service_stats(__u32 id)
{
	__u32 slot = id & SLB_SLOT_MASK;

	return bpf_map_lookup_elem(&slb_svc_stats, &slot);
}

static __always_inline struct slb_stats *backend_stats(__u32 id)
{
	__u32 slot = id & SLB_SLOT_MASK;

	return bpf_map_lookup_elem(&slb_be_stats, &slot);
}
