/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Atomic addition, for rows that programs in process context (the cgroup hooks) and programs in softirq both count in:
 * the former can be preempted, or interrupted by a packet, between load and store. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* BPF_XADD, which kernel 5.10 has as long as the result is not used. The compiler turns an addition of 0 into an atomic
 * OR, which needs 5.12. */
static __always_inline void atomic_add(__u64 *counter, __u64 by)
{
	if (__builtin_constant_p(by) && by == 0)
		return;
	__sync_fetch_and_add(counter, by);
}
