/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A question to the routing table: a row a CPU, used within one run of a program and then void. Each object has its
 * own, which user space never reads. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/frontend.h"

struct slb_fib_query {
	struct bpf_fib_lookup fib;
	struct bpf_fib_lookup
		attempt; /* the same with another length: the kernel writes its answer over the question */
	/* Of a source that is checked: */
	struct slb_frontend_key address;
	__u32 expected; /* ifindex by which it should be reached */
	__u32 vlan;
	__u32 filter;	  /* enum source_filter */
	__u32 has_source; /* 1: the source in the answer is the one that the kernel would choose */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_fib_query);
} slb_fib_query SEC(".maps");

static __always_inline struct slb_fib_query *fib_query_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_fib_query, &row);
}
