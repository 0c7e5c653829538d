/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A map of one row, and the function that gets it. NULL never happens, but the verifier wants to see it tested.
 *
 * PERCPU_ARRAY is scratch memory for one run of a program: no other run on the CPU interrupts it, and nothing is valid
 * after it. It holds what exceeds the stack of 512 bytes, and what a global function needs that takes scalars and the
 * context alone (kernels before 5.12). Each object has its own; user space reads it only where it is pinned. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define ONE_ROW(map_type, name, row_type, get)                                                                         \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##map_type);                                                                 \
		__uint(max_entries, 1);                                                                                \
		__type(key, __u32);                                                                                    \
		__type(value, row_type);                                                                               \
	} name SEC(".maps");                                                                                           \
                                                                                                                       \
	static __always_inline row_type *get(void)                                                                     \
	{                                                                                                              \
		__u32 row = 0;                                                                                         \
                                                                                                                       \
		return bpf_map_lookup_elem(&name, &row);                                                               \
	}
