/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Jiffies: the verifier inlines the helper as a load, while bpf_ktime_get_ns() costs as much as a hash look-up. */
#pragma once
#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include "../maps/config.h"

static __always_inline __u32 clock_now(void)
{
	return (__u32)bpf_jiffies64();
}

/* Whether `since` is at least `sec` seconds before `now`. Signed: another CPU may have written `since` after this one
 * read the clock, and 32 bits of jiffies wrap (in 49 days at 1000 Hz). */
static __always_inline bool clock_passed(__u32 since, __u32 now, __u32 sec)
{
	return (__s32)(now - since) >= (__s32)(sec * slb_config.hz);
}
