/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Memory that is too large for the stack (512 bytes): a row a CPU, used within one run of a program and then void. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../abi/limits.h"

struct slb_icmp_quote {
	__u8 bytes[SLB_ICMP_QUOTE];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slb_icmp_quote);
} slb_icmp_quote SEC(".maps");

static __always_inline struct slb_icmp_quote *icmp_quote_get(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&slb_icmp_quote, &row);
}
