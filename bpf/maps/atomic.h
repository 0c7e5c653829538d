/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Additions in programs that may be preempted: hooks of system calls run in process context, and between a load and a
 * store another process may be scheduled, or a packet arrive, that counts in the same row. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* One instruction, which kernel 5.10 has as long as its result is not asked for. Of an addition of nothing the compiler
 * makes an atomic OR, and that is of 5.12. */
static __always_inline void atomic_add(__u64 *counter, __u64 by)
{
	if (__builtin_constant_p(by) && by == 0)
		return;
	__sync_fetch_and_add(counter, by);
}
