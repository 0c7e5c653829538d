/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The pair of entries in the making: a row a CPU, used within one run of a program and then void. Each object has its
 * own, which user space never reads, so its layout is not generated. On the stack the pair would take a third of the
 * 512 bytes there are, and functions of their own could not be told of it. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/flow.h"

struct slb_draft {
	struct slb_flow flow;
	struct slb_flow peer;
	struct slb_flow_key6 tuple;   /* of the packet, for functions that cannot be given it */
	struct slb_flow_key6 key;     /* of the partner */
	struct slb_flow_key6 evicted; /* of the requests of a flow that gives way */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_draft);
} slb_draft SEC(".maps");

static __always_inline struct slb_draft *draft_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_draft, &row);
}

/* Tells functions that cannot be given it the tuple of the packet. */
static __always_inline struct slb_draft *draft_set_tuple(const struct slb_flow_key6 *tuple)
{
	struct slb_draft *draft = draft_get();

	if (draft)
		draft->tuple = *tuple;
	return draft;
}
