/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Seed of the hash that chooses backends: the same on every node of a cluster, and in no other cluster, so that no
 * client can compute which backend it will get. A map and not a constant in .rodata: the agent knows the seed only when
 * the source has listed the Services, and until then that of an earlier agent is in force. */
#pragma once
#include "onerow.h"

ONE_ROW(ARRAY, slb_seed, __u32, seed_row)

static __always_inline __u32 seed_get(void)
{
	const __u32 *seed = seed_row();

	return seed ? *seed : 0;
}
