/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Parameters of bpf_fib_lookup(). The kernel writes its answer over them, so a second look-up works on a copy. */
#pragma once
#include "../abi/frontend.h"
#include "onerow.h"

struct slb_fib_query {
	struct bpf_fib_lookup fib;
	struct bpf_fib_lookup attempt; /* copy of `fib` for one more look-up */
	/* reverse-path check (stage/rpfilter.h) */
	struct slb_frontend_key address;
	__u32 expected; /* ifindex that the route to the source must have */
	__u32 vlan;
	__u32 filter;	  /* enum rp_filter */
	__u32 has_source; /* 1: the answer has the source that the kernel would choose */
};

ONE_ROW(PERCPU_ARRAY, slb_fib_query, struct slb_fib_query, fib_query_get)
